package im

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// MemberPage is a page of the members of a conversation.
type MemberPage struct {
	Items []MemberView
	// Next is the Page.After of the next page, "" on the last one.
	Next UserID
}

// Members returns a page of the current members. Members of a channel are the members of its
// space who can see it.
func (s *Service) Members(ctx context.Context, actor Actor, ref ConversationRef, p Page) (MemberPage, error) {
	return view(ctx, s, func(r Reader) (MemberPage, error) {
		c, _, err := s.enter(r, actor, ref)
		if err != nil {
			return MemberPage{}, err
		}
		if c.Kind == Channel {
			return s.channelMembers(r, c, p)
		}
		if err := checkAfter(r, c.ID, p); err != nil {
			return MemberPage{}, err
		}
		p.Limit++
		list, err := r.Members(c.ID, p)
		return pageOfMembers(s.memberViews(list), p.Limit-1), err
	})
}

// Member returns a current member. It refuses with member_not_found if the user is not one.
func (s *Service) Member(ctx context.Context, actor Actor, ref ConversationRef, user UserID) (MemberView, error) {
	return view(ctx, s, func(r Reader) (MemberView, error) {
		c, _, err := s.enter(r, actor, ref)
		if err != nil {
			return MemberView{}, err
		}
		if c.Kind == Channel {
			a, err := s.access(r, c, user)
			if err == nil && !a.Can(PermissionView) {
				err = errUnknownMember()
			}
			return a.member(), err
		}
		m, found, err := maybe(r.Membership(c.ID, user))
		if err == nil && (!found || !m.Active()) {
			err = errUnknownMember()
		}
		return s.memberView(m), err
	})
}

// checkAfter refuses a page that begins after a user who never was a member here. Such a
// token was not issued by this list, and accepting it would reveal whether the user is known
// elsewhere.
func checkAfter(r MemberReader, id ID, p Page) error {
	if p.After == "" {
		return nil
	}
	_, found, err := maybe(r.Membership(id, UserID(p.After)))
	if err == nil && !found {
		err = RefuseField(Invalid, "invalid_page_token", "page_token", "is not a token of this list")
	}
	return err
}

// pageOfMembers makes a page of a list that was read with one item more than the page holds.
func pageOfMembers(list []MemberView, limit int) MemberPage {
	if len(list) <= limit {
		return MemberPage{Items: list}
	}
	return MemberPage{Items: list[:limit], Next: list[limit-1].User}
}

// AddMembers adds users to a group or room, publishes an event for each, and returns them as
// members. Users who are members already keep their roles. It adds nobody if one of the users
// has blocked the actor, is on the deny list or left at their own request.
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
		if err := Allow(c, me, PermissionInvite); err != nil {
			return c, err
		}
		if role > Member {
			if err := Allow(c, me, PermissionManageRoles); err != nil {
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
		// A client that hangs up now must not leave half of them added.
		ctx = finishing
	}
}

// checkNewcomers refuses what adding the users would refuse now.
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

// hasOwnMembers refuses channels and threads, whose members and roles cannot be set.
func hasOwnMembers(c Conversation) error {
	if c.Kind != Channel && c.Kind != Thread {
		return nil
	}
	return Refuse(Rule, "members_unsupported", "the members and roles of a %s cannot be set", c.Kind)
}

// sortOut returns the memberships that users have or would get, and in fresh only those who
// are not members now, with their former stays.
func sortOut(r MemberReader, c Conversation, users []UserID, role Role, now time.Time) (all, fresh []Membership, err error) {
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

// newcomers is sortOut for users whom the actor adds. It refuses all of them if one has
// blocked the actor, is on the deny list or left at their own request, or if they are too
// many. named are the users in the order of the request.
func (s *Service) newcomers(r Reader, actor Actor, c Conversation, named, users []UserID, role Role) (all, fresh []Membership, err error) {
	all, fresh, err = sortOut(r, c, users, role, s.time())
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

// addMember makes a user a member and publishes it. It deletes an invitation of theirs, and a
// conversation that they had hidden is back in their list.
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
		if err := putOwner(tx, c.ID, m.User, at); err != nil {
			return err
		}
	}
	return tx.DeleteInvitation(c.ID, m.User)
}

// join makes the actor, who may be muted there, a member at their own request. A user who
// joins a conversation or space that has no owner, because all have left it, becomes the
// owner.
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

// notDenied refuses a user who is on the deny list of a group, room or space.
func notDenied(r MemberReader, c Conversation, user UserID, field string) error {
	denied, err := r.OnList(c.ID, DenyList, user)
	if err == nil && denied {
		err = RefuseField(Conflict, "on_deny_list", field, "is on the deny list: take them off it first")
	}
	return err
}

// Join makes the actor a member of a room, of a group that is open or to which they are
// invited, or of a thread that they can read. A member stays as they are; in a channel that
// is every user who can see it.
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
			return 0, Allow(c, Access{}, PermissionInvite)
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

// mayJoin refuses a group or room that the actor may not join. They get the same answer as if
// it did not exist.
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
		if err := Allow(c, me, PermissionManageRoles); err != nil {
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

// unmuteOwner ends all mutes of a member who becomes the owner, in a space those in its
// channels, too: no other member has a role above theirs, and could end them later.
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

// RemoveMember removes a user from a group, a room or a thread. Removing oneself is leaving;
// the owner may leave only as the last member.
func (s *Service) RemoveMember(ctx context.Context, actor Actor, ref ConversationRef, user UserID) error {
	return s.inSteps(ctx, func(tx Tx) (more bool, err error) {
		c, me, target, err := s.enterWithMember(tx, actor, ref, user)
		if err != nil {
			return false, err
		}
		switch {
		case c.Kind == Direct:
			err = Allow(c, me, PermissionKick)
		case target.User != me.user:
			err = allowRemoval(c, me, target)
		case me.role == Owner && c.MemberCount > 1:
			err = errHandOver()
		}
		if err != nil {
			return false, err
		}
		return s.removeMember(tx, actor, c, target)
	})
}

// removeMember ends a membership and publishes that, after it has ended the memberships of
// threads of the conversation. If one step cannot end all of those, more is true and the
// membership stays: the caller calls again in a new transaction.
func (s *Service) removeMember(tx Tx, actor Actor, c Conversation, target MemberView) (more bool, err error) {
	more, err = s.leaveThreads(tx, actor, c, target.User)
	if err != nil || more {
		return more, err
	}
	return false, s.endMembership(tx, actor, c, target)
}

// endMembership ends a membership and publishes that. It leaves threads alone.
func (s *Service) endMembership(tx Tx, actor Actor, c Conversation, target MemberView) error {
	at, err := tx.Append(memberEvent(MemberRemoved, actor, c, target, s.time()))
	if err != nil {
		return err
	}
	return tx.RemoveMember(c.ID, target.User, at, target.User == actor.User)
}

// Leave removes the actor from a group, a room or a thread.
func (s *Service) Leave(ctx context.Context, actor Actor, ref ConversationRef) error {
	return s.RemoveMember(ctx, actor, ref, actor.User)
}

// enterWithMember returns a conversation, the actor's access to it and the member whom they name.
func (s *Service) enterWithMember(r Reader, actor Actor, ref ConversationRef, user UserID) (c Conversation, me Access, target MemberView, err error) {
	if c, me, err = s.enter(r, actor, ref); err != nil {
		return c, me, target, err
	}
	if c.Kind == Channel {
		return c, me, target, hasOwnMembers(c)
	}
	m, found, err := maybe(r.Membership(c.ID, user))
	if err == nil && (!found || !m.Active()) {
		err = errUnknownMember()
	}
	return c, me, s.memberView(m), err
}

// memberEvent returns an event about a member. In rooms and spaces, which may have very many
// members, only that member receives it.
func memberEvent(t EventType, actor Actor, c Conversation, m MemberView, at time.Time) Event {
	e := Event{
		Type: t, At: at, Conversation: c.ID, Space: c.Space, Actor: actor.User, ActorDevice: actor.Device,
		User: m.User, Role: m.Role, MutedUntil: m.MutedUntil,
	}
	switch c.Kind {
	case Space:
		e.Space, e.To = c.ID, m.User
	case Room, Channel:
		e.To = m.User
	default: // for all members
	}
	return e
}

func errHandOver() error {
	return Refuse(Conflict, "owner_must_hand_over", "make another member the owner first")
}

func (s *Service) errTooManyMembers(k Kind, field string) error {
	return RefuseField(Rule, "too_many_members", field, "a %s has at most %d members", k, s.policy.maxMembers(k))
}

// unique returns users or ids without duplicates, in their order.
func unique[T comparable](users []T) []T {
	seen := make(map[T]bool, len(users))
	return slices.DeleteFunc(slices.Clone(users), func(u T) bool {
		again := seen[u]
		seen[u] = true
		return again
	})
}

func checkRole(role Role) error {
	if role.String() == "" {
		return RefuseField(Invalid, "invalid_request", "role", "is not a role")
	}
	return nil
}

func checkUsers(field string, users []UserID) error {
	for i, u := range users {
		if !u.Valid() {
			return RefuseField(Invalid, "invalid_request", fmt.Sprintf("%s/%d", field, i),
				"is not a user id: "+UserIDRule)
		}
	}
	return nil
}
