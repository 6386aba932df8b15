package im

import (
	"context"
	"slices"
	"time"
)

// RoleStay is the time during which a member of a space had a role, from one event to
// another. The audience of these two events is found by the roles before and after them.
type RoleStay struct {
	Role ID
	From Position
	To   Position // 0 while it lasts
}

// ListStay is the time during which a user was on a list, from one event to another.
type ListStay struct {
	List List
	From Position
	To   Position // 0 while it lasts
}

// SpaceMember is what is stored about a member of a space, with what determines their access to it
// and to one of its channels.
type SpaceMember struct {
	// Membership is the membership of the space.
	Membership
	// Roles are the present and former roles without everyone's. Former ones are needed for as long
	// as the log has events from their time.
	Roles []RoleStay
	// Lists are the present and former entries on the lists of the channel.
	Lists []ListStay
	// MutedHere is the time until which the member is muted in the channel.
	MutedHere time.Time
}

// ChannelOf is what determines a user's access to a channel, in addition to the roles of the space.
type ChannelOf struct {
	Channel ID
	MuteAll bool
	Access  ChannelAccess
	// Lists are the user's entries on the lists of the channel, and MutedHere is the time
	// until which they are muted there.
	Lists     []ListStay
	MutedHere time.Time
}

// holds reports whether an interval from one event to another, which is 0 for an open interval,
// contains the time after an event.
func holds(from, to, at Position) bool { return from <= at && (to == 0 || at < to) }

// rolesAt returns the roles of the member after an event.
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

// JoinSpace makes the actor a member of a space that is open or to which they are invited, unless
// they are on its deny list or it is full. It changes nothing for a member.
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
			return s.currentSpaceView(tx, actor, id)
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
		return s.currentSpaceView(tx, actor, id)
	})
}

// LeaveSpace removes the actor from a space.
func (s *Service) LeaveSpace(ctx context.Context, actor Actor, id ID) error {
	return s.RemoveSpaceMember(ctx, actor, id, actor.User)
}

// SpaceMemberView is a member of a space with their roles, the highest first.
type SpaceMemberView struct {
	MemberView
	Roles []ID
}

// spaceMemberView returns the view of a member of a space. Roles that were deleted are left
// out.
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

// spaceMemberViews returns the views of members of a space, with its present roles.
func (s *Service) spaceMemberViews(r SpaceReader, id ID, list []SpaceMember) ([]SpaceMemberView, error) {
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

// SpaceMember returns a current member of a space.
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

// AddSpaceMembers adds users to a space without an invitation and returns them as members. It
// changes nothing for users who are members already. It adds nobody if one of the users has
// blocked the actor, is on the deny list or left at their own request.
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

// RemoveSpaceMember removes a user from a space and the threads in it, and takes their roles.
// Removing oneself is leaving; the owner may leave only as the last member.
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

// removeFromSpace ends a membership of a space with the member's threads, roles and entries
// on allow lists, and publishes it. If more is true, the membership stays: the caller calls
// again in a new transaction.
func (s *Service) removeFromSpace(tx Tx, actor Actor, c Conversation, target MemberView) (more bool, err error) {
	if more, err = s.leaveThreads(tx, actor, c, target.User); err != nil || more {
		return more, err
	}
	at, err := tx.Append(memberEvent(MemberRemoved, actor, c, target, s.time()))
	if err != nil {
		return false, err
	}
	if err := tx.EndSpaceAccess(c.ID, target.User, at); err != nil {
		return false, err
	}
	if target.Role == Owner {
		if err := putSpaceOwner(tx, c.ID, "", at); err != nil {
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
			return SpaceMemberView{}, Refuse(Forbidden, "permission_denied", "you need the permission %s here: only the owner can hand over a space", PermissionDelete)
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
			if err := putSpaceOwner(tx, id, user, at); err != nil {
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

// putSpaceOwner stores the owner of a space from an event on, "" for none.
func putSpaceOwner(tx Tx, space ID, owner UserID, from Position) error {
	roles, err := tx.RolesAt(space, Latest)
	if err != nil {
		return err
	}
	roles.Owner = owner
	return tx.PutRoles(space, roles, from)
}

// spaceMember returns a current member of a space, with their access data for one of its channels;
// channel 0 means none.
func spaceMember(r SpaceReader, space, channel ID, user UserID) (SpaceMember, error) {
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

// belowMe returns a member of a space whose highest role is below the actor's. me is the
// actor's access to the space or channel, where they need the permission.
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

// rank returns the index of the member's highest role, where 0 is the highest role of the
// space and -1 the owner. For a member without roles it is the number of roles of the space.
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
