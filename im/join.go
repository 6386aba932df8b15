package im

import (
	"context"
	"time"
)

// Join makes the actor a member of a room, of a group that is open or to which they are
// invited, or of a thread that they can read. It changes nothing for a member, and refuses
// a direct conversation. In a channel, every user who can see it is a member.
func (s *Service) Join(ctx context.Context, actor Actor, ref ConversationRef) (ConversationView, error) {
	id, err := write(ctx, s, func(tx Tx) (ID, error) {
		c, err := lookup(tx, actor, ref)
		if err != nil {
			return 0, err
		}
		me, err := s.access(tx, c, actor.User)
		if err != nil {
			return 0, err
		}
		switch {
		case !c.DeletedAt.IsZero() || c.Kind == Space:
			return 0, errUnknownConversation()
		case c.Kind == Direct && me.IsMember():
			return 0, allow(c, Access{}, PermissionInvite)
		case me.IsMember():
			return c.ID, nil
		case me.CanPreview():
		case c.Kind != Room && c.Kind != Group:
			return 0, errUnknownConversation()
		default:
			if err := s.mayJoin(tx, actor, c); err != nil {
				return 0, err
			}
		}
		return c.ID, s.join(tx, actor, c, me.mutedUntil)
	})
	if err != nil {
		return ConversationView{}, err
	}
	return s.Conversation(ctx, actor, ConversationRef{ID: id})
}

// mayJoin refuses a group or room that the actor may not join. The answer is the same as if it did
// not exist, unless the only reason is that it is full.
func (s *Service) mayJoin(r MemberReader, actor Actor, c Conversation) error {
	_, invited, err := maybe(r.Invitation(c.ID, actor.User))
	if err != nil {
		return err
	}
	denied, err := r.OnList(c.ID, DenyList, actor.User)
	switch {
	case err != nil:
		return err
	case denied || !invited && c.Join != JoinOpen:
		return errUnknownConversation()
	case c.MemberCount >= s.policy.maxMembers(c.Kind):
		return s.errTooManyMembers(c.Kind, "")
	}
	return nil
}

// notDenied refuses a user who is on the deny list of a group, room or space.
func notDenied(r MemberReader, c Conversation, user UserID, field string) error {
	denied, err := r.OnList(c.ID, DenyList, user)
	if err == nil && denied {
		err = RefuseField(Conflict, "on_deny_list", field, "is on the deny list: remove them from it first")
	}
	return err
}

// join makes the actor, who may be muted there, a member at their own request. A user who joins
// a group, room or space that has no owner, because all have left it, becomes the owner.
func (s *Service) join(tx Tx, actor Actor, c Conversation, mutedUntil time.Time) error {
	m := MemberView{User: actor.User, Role: Member, JoinedAt: s.time(), MutedUntil: mutedUntil}
	if c.Kind != Thread {
		_, owned, err := maybe(tx.OwnerOf(c.ID))
		if err != nil {
			return err
		}
		if !owned {
			m.Role = Owner
			if err := s.unmuteOwner(tx, c, &m); err != nil {
				return err
			}
		}
	}
	return addMember(tx, actor, c, m)
}
