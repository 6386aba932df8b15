package im

import (
	"cmp"
	"context"
	"time"
)

// GroupDraft is a group or a room to be created.
type GroupDraft struct {
	// Kind is [Group] or [Room]; 0 is [Group].
	Kind Kind
	// ClientID makes creating idempotent, unless it is "".
	ClientID string
	Name     string
	// Settings are those that differ from the defaults.
	Settings ConversationPatch
	// Members are added besides the owner. It is not an error to name the owner, or to name a
	// user twice.
	Members []UserID
}

// CreateGroup creates a group or a room that the actor owns and publishes it to its members.
// With a client_id it is idempotent: a repetition returns the conversation of the first request as
// it is now.
//
// It refuses an invalid draft, one with too many members, a member who has blocked the actor, a
// client_id of another request or of a conversation that was deleted, and a repetition for a
// conversation that the actor can no longer see.
func (s *Service) CreateGroup(ctx context.Context, actor Actor, d GroupDraft) (Created, error) {
	if d.Kind == 0 {
		d.Kind = Group
	}
	d.Settings.Name = &d.Name
	if err := d.Settings.checkFor(d.Kind, s.policy); err != nil {
		return Created{}, err
	}
	if err := checkUsers("members", d.Members); err != nil {
		return Created{}, err
	}
	users := unique(append([]UserID{actor.User}, d.Members...))
	if len(users) > s.policy.maxMembers(d.Kind) {
		return Created{}, s.errTooManyMembers(d.Kind, "members")
	}
	q := creation{actor: actor, clientID: d.ClientID, wanted: d.Settings.apply(defaults(d.Kind, actor)), members: users}
	if err := q.check(); err != nil {
		return Created{}, err
	}
	return write(withSize(ctx, len(users)), s, func(tx Tx) (Created, error) {
		before, err := q.earlier(tx)
		if err != nil || before.created != 0 {
			return s.createdAgain(tx, actor, before, err)
		}
		if err := cmp.Or(notBlockedBy(tx, actor, users[1:], "members", d.Members), before.refusal); err != nil {
			return Created{}, err
		}
		now := s.time()
		c, err := s.newConversation(tx, q.wanted, now)
		if err != nil {
			return Created{}, err
		}
		members := make([]Membership, len(users))
		for i, u := range users {
			members[i] = Membership{Conversation: c.ID, User: u, Role: Member, JoinedAt: now}
		}
		members[0].Role = Owner
		if err := s.create(tx, actor, c, members); err != nil {
			return Created{}, err
		}
		return s.createdNow(tx, q, c.ID)
	})
}

// newConversation returns a conversation with a new id that begins now, with the settings of
// another.
func (s *Service) newConversation(r ConversationReader, like Conversation, now time.Time) (Conversation, error) {
	id, err := s.newID(r, like.Kind, now)
	like.ID, like.FirstSeq = id, 1
	like.CreatedAt, like.UpdatedAt, like.EditedAt = now, now, now
	return like, err
}

// defaults returns a conversation of a kind, without an id, with the default settings.
func defaults(kind Kind, actor Actor) Conversation {
	c := Conversation{Kind: kind, Creator: actor.User, History: HistoryAll, Join: JoinClosed, Invite: InviteByAdmins}
	if kind == Group {
		c.History = HistoryJoined
	}
	if kind == Room {
		c.Join = JoinOpen
	}
	return c
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
