package im

import (
	"context"
	"slices"
	"time"
)

// Access is what a user may do and see in a conversation or space now. It is computed from
// their membership, the roles, lists and mutes there and in the parent conversation or
// space, and the clock. Rules and views take an Access: a [Membership], which is what is
// stored, knows nothing of permissions and may hold a mute that has ended.
//
// Only this file creates an Access. The zero Access allows nothing and shows nothing.
type Access struct {
	user       UserID
	role       Role
	joinedAt   time.Time
	mark       Mark
	stays      Stays
	mutedUntil time.Time
	can        Permissions
	canPreview bool
	slowMode   time.Duration
	ancestors  []Conversation

	// For a thread whose parent shows history only from joining on: the seq of the first message
	// that the user may read besides those of their stays, and when they joined the parent.
	readsFrom      int64
	joinedParentAt time.Time
}

// User returns the user whose access it is.
func (a Access) User() UserID { return a.user }

// Role returns the user's role, 0 if they are not a member now.
func (a Access) Role() Role { return a.role }

// Mark returns the user's own settings of the conversation.
func (a Access) Mark() Mark { return a.mark }

// MutedUntil returns the time until which the user may not send, the zero time if they are
// not muted now. In a channel or thread the mutes of the space or parent count, too.
func (a Access) MutedUntil() time.Time { return a.mutedUntil }

// Permissions returns what the user may do.
func (a Access) Permissions() Permissions { return a.can }

// Can reports whether the user has all of these permissions.
func (a Access) Can(p Permissions) bool { return a.can.Has(p) }

// CanPreview reports whether the user may read a thread without having joined it.
func (a Access) CanPreview() bool { return a.canPreview }

// IsMember reports whether the user is a member now; of a channel, whether they are one
// of its space.
func (a Access) IsMember() bool { return a.stays.Active() }

// withMark returns the access of a user who has changed their own settings.
func (a Access) withMark(mark Mark) Access {
	a.mark = mark
	return a
}

// member returns what the other members are shown of the user.
func (a Access) member() MemberView {
	return MemberView{User: a.user, Role: a.role, JoinedAt: a.joinedAt, MutedUntil: a.mutedUntil}
}

// MemberView is a member of a conversation as other members see them.
type MemberView struct {
	User     UserID
	Role     Role
	JoinedAt time.Time
	// MutedUntil is the time until which they may not send, zero if they are not muted now.
	MutedUntil time.Time
}

// memberView returns the view of a member of a direct conversation, group, room or
// space.
func (s *Service) memberView(m Membership) MemberView {
	return MemberView{User: m.User, Role: m.Role, JoinedAt: m.JoinedAt, MutedUntil: s.mutedUntil(m.MutedUntil)}
}

// memberViews returns the view of each.
func (s *Service) memberViews(list []Membership) []MemberView {
	views := make([]MemberView, len(list))
	for i, m := range list {
		views[i] = s.memberView(m)
	}
	return views
}

// mutedUntil returns the latest of some stored mutes, the zero time if all have ended.
func (s *Service) mutedUntil(stored ...time.Time) time.Time {
	if until := slices.MaxFunc(stored, time.Time.Compare); until.After(s.time()) {
		return until
	}
	return time.Time{}
}

// access returns the access of a user to a conversation or space as of now. One that
// was deleted, or that they cannot see, allows them nothing.
func (s *Service) access(r Reader, c Conversation, user UserID) (Access, error) {
	var m Membership
	if c.hasMembers() {
		var err error
		if m, _, err = maybe(r.Membership(c.ID, user)); err != nil {
			return Access{}, err
		}
	}
	return s.accessOf(r, c, user, m)
}

// accessOf is access for a user whose membership was loaded; m is zero if they have none. For
// a direct conversation, group or room it reads nothing, so a list of those needs no
// statement per item.
func (s *Service) accessOf(r Reader, c Conversation, user UserID, m Membership) (Access, error) {
	a := Access{user: user}
	if !c.DeletedAt.IsZero() {
		return a, nil
	}
	switch c.Kind {
	case Thread:
		return s.accessToThread(r, c, user, m)
	case Channel, Space:
		return s.accessToSpace(r, c, user)
	case Direct, Group, Room:
	}
	a = a.with(m)
	a.mutedUntil = s.mutedUntil(m.MutedUntil)
	a.can = PermissionInput{
		Kind: c.Kind, Member: a.IsMember(), Role: a.role, Muted: !a.mutedUntil.IsZero(), MuteAll: c.MuteAll,
		MembersInvite: c.Invite == InviteByMembers,
	}.Permissions()
	return a.slowed(c), nil
}

// newDirectAccess returns the access of a user to a direct conversation that their
// first message will create.
func newDirectAccess(user UserID) Access {
	return Access{user: user, can: PermissionInput{Kind: Direct, Member: true, Role: Member}.Permissions()}
}

// with returns the access with the fields that are copied from a stored membership.
func (a Access) with(m Membership) Access {
	a.role, a.joinedAt, a.mark, a.stays = m.Role, m.JoinedAt, m.Mark, m.Intervals
	return a
}

// slowed returns the access with the slow mode of the conversation, from which users who
// may mute others are exempt.
func (a Access) slowed(c Conversation) Access {
	if !a.Can(PermissionMute) {
		a.slowMode = c.SlowMode
	}
	return a
}

// enterEach returns those of a list of conversations that exist, each with the access of a
// user. For direct conversations, groups and rooms it takes few statements together.
func (s *Service) enterEach(r Reader, user UserID, ids []ID) ([]entered, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	conversations, err := r.ConversationsByID(ids)
	if err != nil {
		return nil, err
	}
	return s.accessToEach(r, user, conversations)
}

// accessToEach returns conversations with the access of a user, as access does.
func (s *Service) accessToEach(r Reader, user UserID, conversations []Conversation) ([]entered, error) {
	memberships, err := membershipsIn(r, user, conversations)
	if err != nil {
		return nil, err
	}
	list := make([]entered, len(conversations))
	for i, c := range conversations {
		me, err := s.accessOf(r, c, user, memberships[c.ID])
		if err != nil {
			return nil, err
		}
		list[i] = entered{Conversation: c, me: me}
	}
	return list, nil
}

// membershipsIn loads the memberships of a user in those conversations where access depends on the
// membership.
func membershipsIn(r Reader, user UserID, conversations []Conversation) (map[ID]Membership, error) {
	ids := make([]ID, 0, len(conversations))
	for _, c := range conversations {
		if c.hasMembers() {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := r.Memberships(user, ids)
	memberships := make(map[ID]Membership, len(list))
	for _, m := range list {
		memberships[m.Conversation] = m
	}
	return memberships, err
}

// hasMembers reports whether memberships of the conversation itself count, so that access
// depends on them.
func (c Conversation) hasMembers() bool {
	return c.DeletedAt.IsZero() && c.Kind != Channel && c.Kind != Space
}

// accessToThread returns the access to a thread. A user who cannot see its parent cannot
// see the thread.
func (s *Service) accessToThread(r Reader, c Conversation, user UserID, m Membership) (Access, error) {
	none := Access{user: user}
	parent, found, err := maybe(r.Conversation(c.Parent))
	if err != nil || !found {
		return none, err
	}
	in, err := s.access(r, parent, user)
	if err != nil || !in.Can(PermissionView) {
		return none, err
	}
	a := none.with(m)
	if !a.IsMember() {
		if a.mark, err = r.Mark(c.ID, user); err != nil {
			return none, err
		}
	}
	a.canPreview, a.slowMode = true, in.slowMode
	if parent.History != HistoryAll {
		a.joinedParentAt = in.joinedAt
		if a.readsFrom, err = r.SeqSince(c.ID, in.joinedAt); err != nil {
			return none, err
		}
	}
	a.mutedUntil = s.mutedUntil(m.MutedUntil, in.mutedUntil)
	a.ancestors = append([]Conversation{parent}, in.ancestors...)
	a.can = PermissionInput{
		Kind: Thread, Member: a.IsMember(), Creator: c.Creator == user, Parent: in.can, Muted: !a.mutedUntil.IsZero(),
	}.Permissions()
	return a, nil
}

// accessToSpace returns the access to a space or to a channel. Channels have no members of their
// own: the membership of the space counts.
func (s *Service) accessToSpace(r Reader, c Conversation, user UserID) (Access, error) {
	none := Access{user: user}
	space, channel := c, ID(0)
	if c.Kind == Channel {
		var found bool
		var err error
		if space, found, err = maybe(r.Conversation(c.Space)); err != nil || !found {
			return none, err
		}
		channel = c.ID
	}
	found, err := r.SpaceMembersAt(space.ID, channel, Latest, []UserID{user})
	if err != nil || len(found) == 0 {
		return none, err
	}
	rules, err := rulesAt(r, space.ID, channel, Latest)
	if err != nil {
		return none, err
	}
	m := found[0]
	a := none.with(m.Membership)
	a.mutedUntil = s.mutedUntil(m.MutedUntil, m.MutedHere)
	a.can = s.mayInSpace(c, m, rules, Latest)
	if !a.Can(PermissionView) {
		return none, nil
	}
	if channel == 0 {
		return a, nil
	}
	a = a.slowed(c)
	a.stays = a.stays.inChannel()
	a.ancestors = []Conversation{space}
	a.mark, err = r.Mark(channel, user)
	return a, err
}

// rules are what decides who may do what in a space or in a channel.
type rules struct {
	roles  SpaceRoles
	access *ChannelAccess // nil for the space itself
}

func rulesAt(r SpaceReader, space, channel ID, at Position) (out rules, err error) {
	if out.roles, err = r.RolesAt(space, at); err != nil || channel == 0 {
		return out, err
	}
	access, err := r.AccessAt(channel, at)
	out.access = &access
	return out, err
}

// mayInSpace returns what a member could do in a space, or in its channel c, after an event, by the
// roles and lists of that time. Mutes have no history, so the present mutes apply.
func (s *Service) mayInSpace(c Conversation, m SpaceMember, by rules, at Position) Permissions {
	kind := Space
	if by.access != nil {
		kind = Channel
	}
	return PermissionInput{
		Kind: kind, Member: true, Role: by.roles.roleOf(m.User), Muted: !s.mutedUntil(m.MutedUntil, m.MutedHere).IsZero(), MuteAll: c.MuteAll,
		Roles: by.roles.Roles, Has: m.rolesAt(at), Channel: by.access,
		Allowed: m.onListAt(AllowList, at), Denied: m.onListAt(DenyList, at),
	}.Permissions()
}

// channelMemberView returns the view of a member of a space as a member of a channel.
func (s *Service) channelMemberView(m SpaceMember) MemberView {
	view := s.memberView(m.Membership)
	view.MutedUntil = s.mutedUntil(m.MutedUntil, m.MutedHere)
	return view
}

// PermissionsIn returns the actor's role in a conversation, 0 for a thread that they have not
// joined, and their permissions there.
func (s *Service) PermissionsIn(ctx context.Context, actor Actor, ref ConversationRef) (role Role, may Permissions, err error) {
	err = s.read(ctx, func(r Reader) error {
		_, me, err := s.enter(r, actor, ref)
		role, may = me.role, me.can
		return err
	})
	return role, may, err
}

// SpacePermissions returns the actor's role in a space and their permissions there.
func (s *Service) SpacePermissions(ctx context.Context, actor Actor, id ID) (role Role, may Permissions, err error) {
	err = s.read(ctx, func(r Reader) error {
		_, me, err := s.enterSpace(r, actor, id)
		role, may = me.role, me.can
		return err
	})
	return role, may, err
}

// accessCache caches the conversations that one read has loaded, with an actor's access to
// each.
type accessCache struct {
	service *Service
	reader  Reader
	user    UserID
	known   map[ID]*cachedAccess
}

type cachedAccess struct {
	Conversation
	membership *Membership // nil if load has not loaded it
	access     *Access     // nil until it is computed
}

func (s *Service) newAccessCache(r Reader, user UserID) accessCache {
	return accessCache{service: s, reader: r, user: user, known: make(map[ID]*cachedAccess)}
}

// load loads conversations, and the user's memberships in them, in few statements.
func (k accessCache) load(ids []ID) error {
	conversations, err := k.reader.ConversationsByID(ids)
	if err != nil {
		return err
	}
	memberships, err := membershipsIn(k.reader, k.user, conversations)
	for _, c := range conversations {
		m := memberships[c.ID]
		k.known[c.ID] = &cachedAccess{Conversation: c, membership: &m}
	}
	return err
}

// conversation returns a conversation. It returns ErrNotFound if there is none.
func (k accessCache) conversation(id ID) (Conversation, error) {
	if c := k.known[id]; c != nil {
		return c.Conversation, nil
	}
	c, err := k.reader.Conversation(id)
	if err == nil {
		k.known[id] = &cachedAccess{Conversation: c}
	}
	return c, err
}

// access returns a conversation with the user's access to it. It returns ErrNotFound if
// there is no such conversation.
func (k accessCache) access(id ID) (Conversation, Access, error) {
	c, err := k.conversation(id)
	if err != nil {
		return c, Access{}, err
	}
	known := k.known[id]
	if known.access == nil {
		var a Access
		if known.membership != nil {
			a, err = k.service.accessOf(k.reader, c, k.user, *known.membership)
		} else {
			a, err = k.service.access(k.reader, c, k.user)
		}
		if err != nil {
			return c, Access{}, err
		}
		known.access = &a
	}
	return c, *known.access, nil
}

// sees reports whether the user may read a message.
func (k accessCache) sees(m Message) (bool, error) {
	c, me, err := k.access(m.Conversation)
	if err != nil {
		return false, err
	}
	return k.service.sees(k.reader, c, me, m)
}
