package im

import (
	"context"
	"slices"
	"time"
)

// RoleStay says that a member of a space had a role, from one event to another.
// An event that changes who has a role is told by the state before it and by the
// one after it.
type RoleStay struct {
	Role ID
	From Position
	To   Position // 0 while it lasts
}

// ListStay says that somebody was on a list, from one event to another.
type ListStay struct {
	List List
	From Position
	To   Position // 0 while it lasts
}

// SpaceMember is what is stored of a member of a space, with what decides their access
// to it and to one of its channels.
type SpaceMember struct {
	// Membership is that of the space.
	Membership
	// Roles are those that they had or have, besides everyone's; the log may
	// still have events from the time of those that ended.
	Roles []RoleStay
	// Lists are the same for the lists of the channel.
	Lists []ListStay
	// MutedHere is until when they are muted in the channel.
	MutedHere time.Time
}

// ChannelOf is what decides about a channel now, and what besides the space decides
// about one user there.
type ChannelOf struct {
	Channel ID
	MuteAll bool
	Access  ChannelAccess
	// Lists are the stays of the user on its lists, and MutedHere is until when they
	// are muted there.
	Lists     []ListStay
	MutedHere time.Time
}

// holds reports whether a stay from one event to another, 0 while it lasts, was
// after an event.
func holds(from, to, at Position) bool { return from <= at && (to == 0 || at < to) }

// rolesAt returns the roles that the member had after an event.
func (m SpaceMember) rolesAt(at Position) []ID {
	var out []ID
	for _, r := range m.Roles {
		if holds(r.From, r.To, at) {
			out = append(out, r.Role)
		}
	}
	return out
}

// onListAt reports whether the member was on a list after an event.
func (m SpaceMember) onListAt(list List, at Position) bool {
	for _, l := range m.Lists {
		if l.List == list && holds(l.From, l.To, at) {
			return true
		}
	}
	return false
}

// JoinSpace makes the actor a member of a space that is open or that they were
// invited to. Who is one already stays as they are.
func (s *Service) JoinSpace(ctx context.Context, actor Actor, id ID) (SpaceView, error) {
	return write(ctx, s, func(tx Tx) (SpaceView, error) {
		c, err := findSpace(tx, id)
		if err != nil {
			return SpaceView{}, err
		}
		m, found, err := maybe(tx.Membership(id, actor.User))
		if err != nil {
			return SpaceView{}, err
		}
		if found && m.Active() {
			return s.seenSpace(tx, actor, id)
		}
		_, invited, err := maybe(tx.Invitation(id, actor.User))
		if err != nil {
			return SpaceView{}, err
		}
		denied, err := tx.OnList(id, DenyList, actor.User)
		if err != nil {
			return SpaceView{}, err
		}
		if denied || !invited && c.Join != JoinOpen {
			return SpaceView{}, errUnknownSpace()
		}
		if c.MemberCount >= s.policy.MaxSpaceMembers {
			return SpaceView{}, s.errTooManyMembers(Space, "")
		}
		if err := s.join(tx, actor, c, s.mutedUntil(m.MutedUntil)); err != nil {
			return SpaceView{}, err
		}
		return s.seenSpace(tx, actor, id)
	})
}

// LeaveSpace takes the actor out of a space.
func (s *Service) LeaveSpace(ctx context.Context, actor Actor, id ID) error {
	return s.RemoveSpaceMember(ctx, actor, id, actor.User)
}

// SpaceMemberView is a member of a space with their roles, the highest first.
type SpaceMemberView struct {
	MemberView
	Roles []ID
}

// spaceMemberView returns the view of a member of a space, with those of the roles that
// they have.
func (s *Service) spaceMemberView(m SpaceMember, roles SpaceRoles) SpaceMemberView {
	out := SpaceMemberView{MemberView: s.memberView(m.Membership), Roles: []ID{}}
	has := m.rolesAt(Latest)
	for _, r := range roles.Roles {
		if r.ID != Everyone && slices.Contains(has, r.ID) {
			out.Roles = append(out.Roles, r.ID)
		}
	}
	return out
}

// spaceMemberViews returns the view of each of several members, with the roles of now.
func (s *Service) spaceMemberViews(r Reader, id ID, list []SpaceMember) ([]SpaceMemberView, error) {
	roles, err := r.RolesAt(id, Latest)
	if err != nil {
		return nil, err
	}
	views := make([]SpaceMemberView, len(list))
	for i, m := range list {
		views[i] = s.spaceMemberView(m, roles)
	}
	return views, nil
}

// SpaceMembers returns a page of the members of a space.
func (s *Service) SpaceMembers(ctx context.Context, actor Actor, id ID, p Page) ([]SpaceMemberView, error) {
	return view(ctx, s, func(r Reader) ([]SpaceMemberView, error) {
		if _, _, err := s.enterSpace(r, actor, id); err != nil {
			return nil, err
		}
		if err := checkAfter(r, id, p); err != nil {
			return nil, err
		}
		list, err := r.SpaceMembers(id, 0, p)
		if err != nil {
			return nil, err
		}
		return s.spaceMemberViews(r, id, list)
	})
}

// SpaceMember returns one who is a member of a space now.
func (s *Service) SpaceMember(ctx context.Context, actor Actor, id ID, user UserID) (SpaceMemberView, error) {
	return view(ctx, s, func(r Reader) (SpaceMemberView, error) {
		if _, _, err := s.enterSpace(r, actor, id); err != nil {
			return SpaceMemberView{}, err
		}
		m, err := spaceMember(r, id, 0, user)
		if err != nil {
			return SpaceMemberView{}, err
		}
		roles, err := r.RolesAt(id, Latest)
		return s.spaceMemberView(m, roles), err
	})
}

// AddSpaceMembers makes users members of a space without asking them, and returns
// their standing. Who is one already is left as they are. Who has blocked the actor,
// or left by themselves, cannot be added.
func (s *Service) AddSpaceMembers(ctx context.Context, actor Actor, id ID, users []UserID) ([]SpaceMemberView, error) {
	if err := checkUsers("members", users); err != nil {
		return nil, err
	}
	_, err := s.addMembers(ctx, actor, users, Member, func(r Reader) (Conversation, error) {
		c, _, err := s.enterSpaceTo(r, actor, id, PermissionManageMembers)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	return view(ctx, s, func(r Reader) ([]SpaceMemberView, error) {
		list, err := r.SpaceMembersAt(id, 0, Latest, users)
		if err != nil {
			return nil, err
		}
		return s.spaceMemberViews(r, id, list)
	})
}

// RemoveSpaceMember takes a user out of a space, with their roles and threads.
// Removing oneself is leaving, which the owner may do only as the last one or
// after handing over.
func (s *Service) RemoveSpaceMember(ctx context.Context, actor Actor, id ID, user UserID) error {
	return s.inSteps(ctx, func(tx Tx) (more bool, err error) {
		c, me, err := s.enterSpace(tx, actor, id)
		if err != nil {
			return false, err
		}
		target := me.member()
		if user != actor.User {
			var m SpaceMember
			m, err = s.belowMe(tx, actor, id, 0, me, user, PermissionKick)
			target = s.memberView(m.Membership)
		} else if me.role == Owner && c.MemberCount > 1 {
			err = errHandOver()
		}
		if err != nil {
			return false, err
		}
		return s.removeFromSpace(tx, actor, c, target)
	})
}

// removeFromSpace ends a membership of a space with all that hangs on it, and tells of
// it. It reports whether there is more than one step does.
func (s *Service) removeFromSpace(tx Tx, actor Actor, c Conversation, target MemberView) (more bool, err error) {
	if more, err = s.leaveThreads(tx, actor, c, target.User); err != nil || more {
		return more, err
	}
	at, err := tx.Append(memberEvent(MemberRemoved, actor, c, target, s.time()))
	if err != nil {
		return false, err
	}
	if err := tx.EndStanding(c.ID, target.User, at); err != nil {
		return false, err
	}
	if target.Role == Owner {
		if err := putOwner(tx, c.ID, "", at); err != nil {
			return false, err
		}
	}
	return false, tx.RemoveMember(c.ID, target.User, at, target.User == actor.User)
}

// HandOverSpace makes another member the owner of a space.
func (s *Service) HandOverSpace(ctx context.Context, actor Actor, id ID, user UserID) (SpaceMemberView, error) {
	return write(ctx, s, func(tx Tx) (SpaceMemberView, error) {
		c, me, err := s.enterSpace(tx, actor, id)
		if err != nil {
			return SpaceMemberView{}, err
		}
		target, err := spaceMember(tx, id, 0, user)
		if err != nil {
			return SpaceMemberView{}, err
		}
		if me.role != Owner {
			return SpaceMemberView{}, Refuse(Forbidden, "permission_denied", "you need the permission %s here: only the owner hands a space over", PermissionDelete)
		}
		if user != actor.User {
			owner, former := s.memberView(target.Membership), me.member()
			owner.Role, former.Role = Owner, Member
			if err := s.unmuteOwner(tx, c, &owner); err != nil {
				return SpaceMemberView{}, err
			}
			at, err := s.setRoles(tx, actor, c, owner, former)
			if err != nil {
				return SpaceMemberView{}, err
			}
			if _, err := tx.Append(c.event(updated, actor, s.time())); err != nil {
				return SpaceMemberView{}, err
			}
			if err := putOwner(tx, id, user, at); err != nil {
				return SpaceMemberView{}, err
			}
		}
		if target, err = spaceMember(tx, id, 0, user); err != nil {
			return SpaceMemberView{}, err
		}
		roles, err := tx.RolesAt(id, Latest)
		return s.spaceMemberView(target, roles), err
	})
}

// putOwner stores the owner of a space from an event on, "" for none.
func putOwner(tx Tx, space ID, owner UserID, from Position) error {
	roles, err := tx.RolesAt(space, Latest)
	if err != nil {
		return err
	}
	roles.Owner = owner
	return tx.PutRoles(space, roles, from)
}

// spaceMember returns somebody who is a member of a space now, with their standing
// in one of its channels.
func spaceMember(r Reader, space, channel ID, user UserID) (SpaceMember, error) {
	list, err := r.SpaceMembersAt(space, channel, Latest, []UserID{user})
	if err == nil && len(list) == 0 {
		err = errUnknownMember()
	}
	if err != nil {
		return SpaceMember{}, err
	}
	return list[0], nil
}

func errNotBelow() error {
	return Refuse(Forbidden, "permission_denied", "you may only do this to members whose highest role is below yours")
}

// belowMe finds a member of a space whom the actor, who is one with the standing
// me there or in a channel, may do something to: it takes a permission, and a role
// above theirs.
func (s *Service) belowMe(r Reader, actor Actor, space, channel ID, me Access, user UserID, p Permissions) (SpaceMember, error) {
	target, err := spaceMember(r, space, channel, user)
	if err != nil {
		return target, err
	}
	if !me.Can(p) {
		return target, errDenied(p)
	}
	mine, err := spaceMember(r, space, 0, actor.User)
	if err != nil {
		return target, err
	}
	roles, err := r.RolesAt(space, Latest)
	if err == nil && mine.rank(roles) >= target.rank(roles) {
		err = errNotBelow()
	}
	return target, err
}

// rank returns the place of a member's highest role among those of the space, -1
// of its owner.
func (m SpaceMember) rank(roles SpaceRoles) int {
	if m.User == roles.Owner {
		return -1
	}
	highest := len(roles.Roles)
	for _, role := range m.rolesAt(Latest) {
		highest = min(highest, roles.Roles.rank(role))
	}
	return highest
}
