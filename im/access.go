package im

import (
	"context"
	"slices"
	"time"
)

// What somebody is in a conversation, and so what they may do there, is found out
// here, for conversations of every kind. What follows from it is decided by
// [Standing.Permissions].

// stand returns the standing of a user in a conversation as it is now. Who cannot
// see it, or if it was deleted, may do nothing there.
func (s *Service) stand(r Reader, c Conversation, user UserID) (Membership, error) {
	var m Membership
	found := false
	if c.DeletedAt.IsZero() && c.Kind != Channel && c.Kind != Space {
		var err error
		if m, found, err = maybe(r.Membership(c.ID, user)); err != nil {
			return Membership{Conversation: c.ID, User: user}, err
		}
	}
	return s.standAs(r, c, user, m, found)
}

// standAs is stand with the user's membership, if they have one, which is known.
func (s *Service) standAs(r Reader, c Conversation, user UserID, m Membership, found bool) (Membership, error) {
	if !c.DeletedAt.IsZero() {
		return Membership{Conversation: c.ID, User: user}, nil
	}
	switch c.Kind {
	case Thread:
		return s.standInThread(r, c, user, m, found)
	case Channel, Space:
		return s.standInSpace(r, c, user)
	}
	if !found {
		return Membership{Conversation: c.ID, User: user}, nil
	}
	m.May = Standing{
		Kind: c.Kind, Member: m.Active(), Role: m.Role, Muted: s.muted(m.MutedUntil), MuteAll: c.MuteAll,
		MembersInvite: c.Invite == InviteByMembers,
	}.Permissions()
	return s.current(slowed(m, c)), nil
}

func (s *Service) muted(until time.Time) bool { return until.After(s.time()) }

// slowed is a membership with the slow mode of the conversation. Who may mute others
// is not held up.
func slowed(m Membership, c Conversation) Membership {
	if !m.May.Has(PermissionMute) {
		m.SlowMode = c.SlowMode
	}
	return m
}

// current is a membership without a mute that has ended.
func (s *Service) current(m Membership) Membership {
	if !s.muted(m.MutedUntil) {
		m.MutedUntil = time.Time{}
	}
	return m
}

// standInThread finds out what the user may in the parent first: who cannot see
// that has lost the thread, too.
func (s *Service) standInThread(r Reader, c Conversation, user UserID, m Membership, found bool) (Membership, error) {
	nobody := Membership{Conversation: c.ID, User: user}
	parent, hangs, err := maybe(r.Conversation(c.Parent))
	if err != nil || !hangs {
		return nobody, err
	}
	above, err := s.stand(r, parent, user)
	if err != nil || !above.May.Has(PermissionView) {
		return nobody, err
	}
	if !found {
		m = nobody
	}
	if !m.Active() {
		if m.Mark, err = r.Mark(c.ID, user); err != nil {
			return nobody, err
		}
	}
	m.Looks, m.SlowMode = true, above.SlowMode
	if parent.History != HistoryAll {
		m.JoinedAbove = above.JoinedAt
		if m.ReadsFrom, err = r.SeqSince(c.ID, above.JoinedAt); err != nil {
			return nobody, err
		}
	}
	if above.MutedUntil.After(m.MutedUntil) {
		m.MutedUntil = above.MutedUntil
	}
	m.Above = append([]Conversation{parent}, above.Above...)
	m.May = Standing{
		Kind: Thread, Member: m.Active(), Creator: c.Creator == user, Parent: above.May, Muted: s.muted(m.MutedUntil),
	}.Permissions()
	return s.current(m), nil
}

// standInSpace finds out what the user may in a space or a channel of one. Nobody
// has a membership of a channel: it is that of the space.
func (s *Service) standInSpace(r Reader, c Conversation, user UserID) (Membership, error) {
	nobody := Membership{Conversation: c.ID, User: user}
	space, channel := c, ID(0)
	if c.Kind == Channel {
		var found bool
		var err error
		if space, found, err = maybe(r.Conversation(c.Space)); err != nil || !found {
			return nobody, err
		}
		channel = c.ID
	}
	found, err := r.SpaceMembersAt(space.ID, channel, Latest, []UserID{user})
	if err != nil || len(found) == 0 {
		return nobody, err
	}
	rules, err := rulesAt(r, space.ID, channel, Latest)
	if err != nil {
		return nobody, err
	}
	m := found[0].Membership
	m.May = s.mayInSpace(c, found[0], rules, Latest)
	if !m.May.Has(PermissionView) {
		return nobody, nil
	}
	if found[0].MutedHere.After(m.MutedUntil) {
		m.MutedUntil = found[0].MutedHere
	}
	if m = s.current(m); channel == 0 {
		return m, nil
	}
	m = slowed(inChannel(m, channel), c)
	m.Above = []Conversation{space}
	m.Mark, err = r.Mark(channel, user)
	return m, err
}

// inChannel makes the membership of a space that of one of its channels, all of
// which every member of the space may read who can see it.
func inChannel(m Membership, channel ID) Membership {
	m.Conversation = channel
	m.Intervals = slices.Clone(m.Intervals)
	for i := range m.Intervals {
		m.Intervals[i].FromSeq, m.Intervals[i].ToSeq = 1, 0
	}
	return m
}

// rules are what decides who may what in a space, or in a channel of one.
type rules struct {
	roles  RoleSet
	access *ChannelAccess // nil of the space itself
}

func rulesAt(r Reader, space, channel ID, at Position) (out rules, err error) {
	if out.roles, err = r.RolesAt(space, at); err != nil || channel == 0 {
		return out, err
	}
	access, err := r.AccessAt(channel, at)
	out.access = &access
	return out, err
}

// mayInSpace returns what a member may do in a space or channel c after an event.
// Who is muted now is, whenever it is asked for.
func (s *Service) mayInSpace(c Conversation, m SpaceMember, by rules, at Position) Permissions {
	kind := Space
	if by.access != nil {
		kind = Channel
	}
	return Standing{
		Kind: kind, Member: true, Role: m.roleAt(at), Muted: s.muted(m.MutedUntil) || s.muted(m.MutedHere), MuteAll: c.MuteAll,
		Roles: by.roles, Has: m.rolesAt(at), Channel: by.access,
		Allowed: m.onListAt(AllowList, at), Denied: m.onListAt(DenyList, at),
	}.Permissions()
}

// PermissionsIn returns what the actor is in a conversation, 0 for a thread that
// they have not joined, and what they may do there.
func (s *Service) PermissionsIn(ctx context.Context, actor Actor, ref ConversationRef) (role Role, may Permissions, err error) {
	err = s.read(ctx, func(r Reader) error {
		_, me, err := s.enter(r, actor, ref)
		role, may = me.Role, me.May
		return err
	})
	return role, may, err
}

// SpacePermissions is PermissionsIn for a space.
func (s *Service) SpacePermissions(ctx context.Context, actor Actor, id ID) (role Role, may Permissions, err error) {
	err = s.read(ctx, func(r Reader) error {
		_, me, err := s.enterSpace(r, actor, id)
		role, may = me.Role, me.May
		return err
	})
	return role, may, err
}
