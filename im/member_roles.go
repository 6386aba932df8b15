package im

import (
	"context"
	"time"
)

// SetRole gives a member of a group or room another role. A member who becomes the owner
// takes over from the former owner, who becomes an admin.
func (s *Service) SetRole(ctx context.Context, actor Actor, ref ConversationRef, user UserID, role Role) (MemberView, error) {
	if err := checkRole(role); err != nil {
		return MemberView{}, err
	}
	return write(ctx, s, func(tx Tx) (MemberView, error) {
		c, me, target, err := s.enterWithMember(tx, actor, ref, user)
		if err != nil {
			return MemberView{}, err
		}
		if err := hasOwnMembers(c); err != nil {
			return MemberView{}, err
		}
		if err := allow(c, me, PermissionManageRoles); err != nil {
			return MemberView{}, err
		}
		if target.Role == role {
			return target, nil
		}
		if target.User == me.user {
			return MemberView{}, errHandOver()
		}
		target.Role = role
		if role != Owner {
			_, err = s.setRoles(tx, actor, c, target)
			return target, err
		}
		if err := s.unmuteOwner(tx, c, &target); err != nil {
			return MemberView{}, err
		}
		former := me.member()
		former.Role = Admin
		_, err = s.setRoles(tx, actor, c, target, former)
		return target, err
	})
}

// unmuteOwner ends all mutes of a member who becomes the owner, in a space including those in its
// channels. Nobody could end them later, because no other member has a role above the owner's.
func (s *Service) unmuteOwner(tx Tx, c Conversation, m *MemberView) error {
	m.MutedUntil = time.Time{}
	if err := tx.PutMute(c.ID, m.User, time.Time{}); err != nil || c.Kind != Space {
		return err
	}
	channels, err := tx.Channels(c.ID, 0, s.policy.MaxChannels)
	if err != nil {
		return err
	}
	for _, channel := range channels {
		if err := tx.PutMute(channel.ID, m.User, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// setRoles stores the roles of members and publishes them. It returns the position of the
// last event.
func (s *Service) setRoles(tx Tx, actor Actor, c Conversation, changes ...MemberView) (at Position, err error) {
	now := s.time()
	for _, m := range changes {
		if err := tx.SetRole(c.ID, m.User, m.Role); err != nil {
			return 0, err
		}
		if at, err = tx.Append(memberEvent(MemberUpdated, actor, c, m, now)); err != nil {
			return 0, err
		}
	}
	return at, nil
}

func checkRole(role Role) error {
	if role.String() == "" {
		return RefuseField(Invalid, "invalid_request", "role", "is not a role")
	}
	return nil
}

func errHandOver() error {
	return Refuse(Conflict, "owner_must_hand_over", "make another member the owner first")
}
