package im

import (
	"context"
	"slices"
	"time"
)

// Block is an entry of a user's block list. The blocked user cannot send them direct
// messages, nor add or invite them to anything.
type Block struct {
	User UserID
	At   time.Time
}

// PutBlock blocks a user for the actor, and publishes that to the actor's other devices. It is not
// an error if the user is blocked already; then it publishes nothing.
func (s *Service) PutBlock(ctx context.Context, actor Actor, user UserID) error {
	return s.setBlocked(ctx, actor, user, true)
}

// DeleteBlock ends a block, and publishes that to the actor's other devices. It is not an error if
// there is none; then it publishes nothing.
func (s *Service) DeleteBlock(ctx context.Context, actor Actor, user UserID) error {
	return s.setBlocked(ctx, actor, user, false)
}

func (s *Service) setBlocked(ctx context.Context, actor Actor, user UserID, on bool) error {
	if err := checkBlocked(actor, user); err != nil {
		return err
	}
	return s.store.Write(ctx, func(tx Tx) error {
		blocked, err := tx.Blocked(actor.User, user)
		if err != nil || blocked == on {
			return err
		}
		e := Event{
			Type: BlockDeleted, At: s.time(), To: actor.User, User: user,
			Actor: actor.User, ActorDevice: actor.Device,
		}
		if on {
			e.Type = BlockCreated
			err = tx.PutBlock(actor.User, user, e.At)
		} else {
			err = tx.DeleteBlock(actor.User, user)
		}
		if err == nil {
			_, err = tx.Append(e)
		}
		return err
	})
}

// Blocks returns a page of the users whom the actor has blocked.
func (s *Service) Blocks(ctx context.Context, actor Actor, p Page) ([]Block, error) {
	return view(ctx, s, func(r Reader) ([]Block, error) { return r.Blocks(actor.User, p) })
}

// blockedByPeer reports whether the other user of a direct conversation has
// blocked the actor.
func blockedByPeer(r MemberReader, actor Actor, c Conversation) (bool, error) {
	peer := c.Peer(actor.User)
	if peer == "" {
		return false, nil
	}
	return r.Blocked(peer, actor.User)
}

// notBlockedBy refuses an actor who adds or invites users if one of them has blocked the
// actor. named are the users in that field of the request.
func notBlockedBy(r MemberReader, actor Actor, users []UserID, field string, named []UserID) error {
	by, err := r.BlockedBy(users, actor.User)
	if err != nil || len(by) == 0 {
		return err
	}
	first := slices.IndexFunc(named, func(u UserID) bool { return slices.Contains(by, u) })
	return RefuseField(Forbidden, "blocked", fieldOf(field, named, named[first]), "this user has blocked you: you cannot add or invite them")
}

// livesLonger reports whether a change makes existing or future messages live longer. A
// user who is blocked by their peer may only make messages live shorter.
func (p Policy) livesLonger(before, after Conversation) bool {
	longer := func(before, after time.Duration) bool { // 0 means forever
		return before != 0 && (after == 0 || after > before)
	}
	return longer(before.ExpireAfter, after.ExpireAfter) || longer(p.retention(before.Retention), p.retention(after.Retention))
}

func errBlocked() error {
	return Refuse(Forbidden, "blocked", "this user has blocked you: you cannot write to them")
}

func checkBlocked(actor Actor, user UserID) error {
	switch user {
	case actor.User:
		return RefuseField(Rule, "block_self", "user", "you cannot block yourself")
	default:
		return checkUsers("user", []UserID{user})
	}
}
