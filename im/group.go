package im

import (
	"context"
	"time"
)

// GroupDraft is a group or a room to be created.
type GroupDraft struct {
	// Kind is [Group] or [Room]; 0 is [Group].
	Kind Kind
	Name string
	// Settings are those that differ from the defaults.
	Settings ConversationPatch
	// Members are added besides the owner. It is not an error to name the owner, or to name a
	// user twice.
	Members []UserID
}

// CreateGroup creates a group or a room that the actor owns and publishes it to its members.
// It refuses if one of the members has blocked the actor.
func (s *Service) CreateGroup(ctx context.Context, actor Actor, d GroupDraft) (ConversationView, error) {
	if d.Kind == 0 {
		d.Kind = Group
	}
	d.Settings.Name = &d.Name
	if err := d.Settings.checkFor(d.Kind, s.policy); err != nil {
		return ConversationView{}, err
	}
	if err := checkUsers("members", d.Members); err != nil {
		return ConversationView{}, err
	}
	users := unique(append([]UserID{actor.User}, d.Members...))
	if len(users) > s.policy.maxMembers(d.Kind) {
		return ConversationView{}, s.errTooManyMembers(d.Kind, "members")
	}
	return write(withSize(ctx, len(users)), s, func(tx Tx) (ConversationView, error) {
		if err := notBlockedBy(tx, actor, users[1:], "members", d.Members); err != nil {
			return ConversationView{}, err
		}
		now := s.time()
		c, err := s.newConversation(tx, d.Kind, actor, now)
		if err != nil {
			return ConversationView{}, err
		}
		c = d.Settings.apply(c)
		members := make([]Membership, len(users))
		for i, u := range users {
			members[i] = Membership{Conversation: c.ID, User: u, Role: Member, JoinedAt: now}
		}
		members[0].Role = Owner
		if err := s.create(tx, actor, c, members); err != nil {
			return ConversationView{}, err
		}
		return s.currentView(tx, actor, c.ID)
	})
}

// newConversation returns a conversation of a kind with its default settings and a new id.
func (s *Service) newConversation(r Reader, kind Kind, actor Actor, now time.Time) (Conversation, error) {
	id, err := s.newID(r, kind, now)
	c := Conversation{
		ID: id, Kind: kind, Creator: actor.User, History: HistoryAll, Join: JoinClosed, Invite: InviteByAdmins,
		FirstSeq: 1, CreatedAt: now, UpdatedAt: now, EditedAt: now,
	}
	if kind == Group {
		c.History = HistoryJoined
	}
	if kind == Room {
		c.Join = JoinOpen
	}
	return c, err
}

// newID returns an id that no conversation has or had. Kinds that users may join by knowing
// the id get a random one, which cannot be guessed.
func (s *Service) newID(r ConversationReader, kind Kind, now time.Time) (ID, error) {
	for {
		var id ID
		switch kind {
		case Group, Room, Space:
			id = randomID()
		default:
			id = s.ids.Next(now)
		}
		if _, found, err := maybe(r.Conversation(id)); err != nil || !found {
			return id, err
		}
	}
}

// maxMembers returns the maximum number of members of a conversation or space of a kind.
func (p Policy) maxMembers(k Kind) int {
	switch k {
	case Room:
		return p.MaxRoomMembers
	case Space:
		return p.MaxSpaceMembers
	default:
		return p.MaxMembers
	}
}
