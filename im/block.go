package im

import (
	"context"
	"time"
)

// Block says that its maker gets no direct messages from a user.
type Block struct {
	User UserID
	At   time.Time
}

// PutBlock makes the actor get no direct messages from user, from the next
// one on. Doing it again changes nothing.
func (s *Service) PutBlock(ctx context.Context, actor Actor, user UserID) error {
	if err := checkBlocked(actor, user); err != nil {
		return err
	}
	return s.store.Write(ctx, func(tx Tx) error { return tx.PutBlock(actor.User, user, s.time()) })
}

// DeleteBlock ends a block. Without one it changes nothing.
func (s *Service) DeleteBlock(ctx context.Context, actor Actor, user UserID) error {
	if err := checkBlocked(actor, user); err != nil {
		return err
	}
	return s.store.Write(ctx, func(tx Tx) error { return tx.DeleteBlock(actor.User, user) })
}

// Blocks returns a page of whom the actor has blocked.
func (s *Service) Blocks(ctx context.Context, actor Actor, p Page) ([]Block, error) {
	return view(ctx, s, func(r Reader) ([]Block, error) { return r.Blocks(actor.User, p) })
}

// blockedByPeer reports whether the other user of a direct conversation has
// blocked the actor.
func blockedByPeer(r Reader, actor Actor, c Conversation) (bool, error) {
	peer := c.Peer(actor.User)
	if peer == "" {
		return false, nil
	}
	return r.Blocked(peer, actor.User)
}

func errBlocked() error {
	return Refuse(Forbidden, "blocked", "this user takes no direct messages from you")
}

func checkBlocked(actor Actor, user UserID) error {
	switch user {
	case actor.User:
		return RefuseField(Rule, "block_self", "user", "you cannot block yourself")
	default:
		return checkUsers("user", []UserID{user})
	}
}
