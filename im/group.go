package im

import (
	"context"
	"time"
)

// GroupDraft is a group or a room as its owner asks for it.
type GroupDraft struct {
	// Kind is [Group], also if it is 0, or [Room].
	Kind Kind
	Name string
	// Settings are those that are not to be as they are by default.
	Settings ConversationPatch
	// Members are added besides the owner; naming the owner or somebody twice
	// does no harm.
	Members []UserID
}

// CreateGroup makes a group or a room that the actor owns and tells its members. Nobody
// is put into it who has blocked the actor.
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
		return s.seen(tx, actor, c.ID)
	})
}

// newConversation is a conversation as it is by default, under an id of its own.
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

// newID returns an id for a conversation of a kind that none has or had. What may be
// open to whoever knows its id has one that cannot be guessed.
func (s *Service) newID(r Reader, kind Kind, now time.Time) (ID, error) {
	for {
		var id ID
		switch kind {
		case Group, Room, Space:
			id = RandomID()
		default:
			id = s.ids.Next(now)
		}
		if _, found, err := maybe(r.Conversation(id)); err != nil || !found {
			return id, err
		}
	}
}

// maxMembers returns how many members a place of a kind may have.
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
