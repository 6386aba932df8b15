package im

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// AddMembers adds users to a group or room, publishes an event for each, and returns them as
// members. Users who are members already keep their roles. It adds nobody if one of the users
// has blocked the actor, is on the deny list or left at their own request, or if there would be too
// many members.
func (s *Service) AddMembers(ctx context.Context, actor Actor, ref ConversationRef, users []UserID, role Role) ([]MemberView, error) {
	if err := checkUsers("members", users); err != nil {
		return nil, err
	}
	if err := checkRole(role); err != nil {
		return nil, err
	}
	return s.addMembers(ctx, actor, users, role, func(r Reader) (Conversation, error) {
		c, me, err := s.enter(r, actor, ref)
		if err != nil {
			return c, err
		}
		if err := hasOwnMembers(c); err != nil {
			return c, err
		}
		if err := allow(c, me, PermissionInvite); err != nil {
			return c, err
		}
		if role > Member {
			if err := allow(c, me, PermissionManageRoles); err != nil {
				return c, err
			}
		}
		if role == Owner {
			return c, RefuseField(Rule, "one_owner", "role", "a conversation has one owner; give the role to a member instead")
		}
		return c, nil
	})
}

const (
	// membersAtOnce is the maximum number of members that one transaction adds, and
	// membersChecked the maximum number of users that one read checks beforehand.
	membersAtOnce  = 100
	membersChecked = 500
)

// addMembers adds users to the conversation that enter returns, and returns them as members.
// enter refuses an actor who may not add them. If one transaction cannot add all, all are
// checked before the first is added, so that one refused user refuses the whole request.
func (s *Service) addMembers(
	ctx context.Context, actor Actor, users []UserID, role Role, enter func(Reader) (Conversation, error),
) ([]MemberView, error) {
	named, users := users, unique(users)
	if len(users) > membersAtOnce {
		ctx = WithBulk(ctx)
		if err := s.checkNewcomers(ctx, actor, named, users, role, enter); err != nil {
			return nil, err
		}
	}
	finishing := context.WithoutCancel(ctx)
	var all []MemberView
	for rest := users; ; {
		part := rest[:min(len(rest), membersAtOnce)]
		added, err := write(ctx, s, func(tx Tx) ([]MemberView, error) {
			c, err := enter(tx)
			if err != nil {
				return nil, err
			}
			out, fresh, err := s.newcomers(tx, actor, c, named, part, role)
			if err != nil {
				return nil, err
			}
			for _, m := range fresh {
				if err := addMember(tx, actor, c, s.memberView(m)); err != nil {
					return nil, err
				}
			}
			return s.memberViews(out), nil
		})
		if err != nil {
			return nil, err
		}
		all, rest = append(all, added...), rest[len(part):]
		if len(rest) == 0 {
			return all, nil
		}
		// A client that disconnects now must not leave half of them added.
		ctx = finishing
	}
}

// checkNewcomers returns the refusal, if any, that adding the users would return now.
func (s *Service) checkNewcomers(
	ctx context.Context, actor Actor, named, users []UserID, role Role, enter func(Reader) (Conversation, error),
) error {
	newcomers := 0
	for part := range slices.Chunk(users, membersChecked) {
		n, err := view(ctx, s, func(r Reader) (int, error) {
			c, err := enter(r)
			if err != nil {
				return 0, err
			}
			_, fresh, err := s.newcomers(r, actor, c, named, part, role)
			if err == nil && c.MemberCount+newcomers+len(fresh) > s.policy.maxMembers(c.Kind) {
				err = s.errTooManyMembers(c.Kind, "members")
			}
			return len(fresh), err
		})
		if err != nil {
			return err
		}
		newcomers += n
	}
	return nil
}

// membershipsOf returns the memberships that users have or would get. fresh are only those of
// users who are not members now, with their former stays.
func membershipsOf(r MemberReader, c Conversation, users []UserID, role Role, now time.Time) (all, fresh []Membership, err error) {
	for _, u := range users {
		m, found, err := maybe(r.Membership(c.ID, u))
		if err != nil {
			return nil, nil, err
		}
		if found && m.Active() {
			all = append(all, m)
			continue
		}
		m = Membership{Conversation: c.ID, User: u, Role: role, JoinedAt: now, MutedUntil: m.MutedUntil, Intervals: m.Intervals}
		all, fresh = append(all, m), append(fresh, m)
	}
	return all, fresh, nil
}

// newcomers is membershipsOf for users whom the actor adds. It refuses all of them if one has
// blocked the actor, is on the deny list or left at their own request, or if there are too many.
// named are the users in the order of the request.
func (s *Service) newcomers(r Reader, actor Actor, c Conversation, named, users []UserID, role Role) (all, fresh []Membership, err error) {
	all, fresh, err = membershipsOf(r, c, users, role, s.time())
	if err != nil {
		return nil, nil, err
	}
	if err := notBlockedBy(r, actor, usersOf(fresh), "members", named); err != nil {
		return nil, nil, err
	}
	for _, m := range fresh {
		err := notDenied(r, c, m.User, "")
		if err == nil && m.Left() {
			err = RefuseField(Conflict, "has_left", "", "has left: invite them, or let them join")
		}
		if e, ok := AsError(err); ok {
			e.Field = fieldOf("members", named, m.User)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if c.MemberCount+len(fresh) > s.policy.maxMembers(c.Kind) {
		return nil, nil, s.errTooManyMembers(c.Kind, "members")
	}
	return all, fresh, nil
}

// usersOf returns the users of memberships.
func usersOf(list []Membership) []UserID {
	users := make([]UserID, len(list))
	for i, m := range list {
		users[i] = m.User
	}
	return users
}

// fieldOf returns the pointer to a user in a field of the request.
func fieldOf(field string, named []UserID, user UserID) string {
	return fmt.Sprintf("%s/%d", field, slices.Index(named, user))
}

// addMember makes a user a member and publishes that. It deletes their invitation, and puts a
// conversation that they had hidden back into their list.
func addMember(tx Tx, actor Actor, c Conversation, m MemberView) error {
	before, back, err := maybe(tx.Membership(c.ID, m.User))
	if err != nil {
		return err
	}
	added := Membership{Conversation: c.ID, User: m.User, Role: m.Role, JoinedAt: m.JoinedAt}
	mark := before.Mark
	if back {
		if added.ReturnedAt, err = tx.Stamp(m.JoinedAt); err != nil {
			return err
		}
	}
	at, err := tx.Append(memberEvent(MemberAdded, actor, c, m, m.JoinedAt))
	if err != nil {
		return err
	}
	if mark.Gone {
		mark.Gone, mark.GoneCounted, mark.ChangedAt = false, 0, m.JoinedAt
		if err := tx.PutMark(c.ID, m.User, mark); err != nil {
			return err
		}
	}
	if err := tx.AddMember(added, at); err != nil {
		return err
	}
	if c.Kind == Space && m.Role == Owner {
		if err := putSpaceOwner(tx, c.ID, m.User, at); err != nil {
			return err
		}
	}
	return tx.DeleteInvitation(c.ID, m.User)
}
