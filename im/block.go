package im

import (
	"context"
	"slices"
	"time"
)

// Block says that its maker gets no direct messages from a user, and is neither added
// nor invited to anything by them.
type Block struct {
	User UserID
	At   time.Time
}

// PutBlock keeps a user from writing to the actor directly and from adding or
// inviting them, from now on. Doing it again changes nothing.
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

// notBlockedBy refuses to have the actor add or invite users of whom one has blocked
// them. named are the users as a field of the request has them.
func notBlockedBy(r Reader, actor Actor, users []UserID, field string, named []UserID) error {
	by, err := r.BlockedBy(users, actor.User)
	if err != nil || len(by) == 0 {
		return err
	}
	first := slices.IndexFunc(named, func(u UserID) bool { return slices.Contains(by, u) })
	return RefuseField(Forbidden, "blocked", fieldOf(field, named, named[first]), "this user does not want to be added or invited by you")
}

// livesLonger reports whether a change has messages live longer that are sent to a
// conversation or are in it. Who is blocked may only have them live shorter.
func (p Policy) livesLonger(before, after Conversation) bool {
	longer := func(before, after time.Duration) bool { // 0 is for ever
		return before != 0 && (after == 0 || after > before)
	}
	return longer(before.ExpireAfter, after.ExpireAfter) || longer(p.retention(before), p.retention(after))
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
