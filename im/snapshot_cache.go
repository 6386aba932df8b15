package im

import (
	"slices"
	"time"
)

// Span is a part of the event log: after the event From, up to and including the event To,
// which is 0 if the span has not ended.
type Span struct{ From, To Position }

// snapshotCache is a Reader that caches what access is computed from. A use case
// that computes it for many messages, events or channels loads each part once, and the
// state of the space once for all its channels.
type snapshotCache struct {
	Reader
	conversations map[ID]Conversation
	roles         map[ID]held[SpaceRoles]
	access        map[ID]held[ChannelAccess]
	members       map[inSpace]SpaceMember
	present       map[inSpace]SpaceMember // only members as of [Latest]
	channels      map[inSpace]inOneChannel
}

// inSpace is a user in a space or in one of its channels.
type inSpace struct {
	id   ID
	user UserID
}

// inOneChannel is what access to a channel depends on besides the space.
type inOneChannel struct {
	lists []ListStay
	muted time.Time
}

// held is a value and the span in which it was valid.
type held[T any] struct {
	Span
	it T
}

func newSnapshotCache(r Reader) Reader {
	return &snapshotCache{
		Reader:        r,
		conversations: make(map[ID]Conversation),
		roles:         make(map[ID]held[SpaceRoles]),
		access:        make(map[ID]held[ChannelAccess]),
		members:       make(map[inSpace]SpaceMember),
		present:       make(map[inSpace]SpaceMember),
		channels:      make(map[inSpace]inOneChannel),
	}
}

// Conversation implements [ConversationReader].
func (r *snapshotCache) Conversation(id ID) (Conversation, error) {
	if c, found := r.conversations[id]; found {
		return c, nil
	}
	c, err := r.Reader.Conversation(id)
	if err == nil {
		r.conversations[id] = c
	}
	return c, err
}

// ConversationsByID implements [ConversationReader].
func (r *snapshotCache) ConversationsByID(ids []ID) ([]Conversation, error) {
	list, err := r.Reader.ConversationsByID(ids)
	for _, c := range list {
		r.conversations[c.ID] = c
	}
	return list, err
}

// RolesAt implements [SpaceReader].
func (r *snapshotCache) RolesAt(space ID, at Position) (SpaceRoles, error) {
	return recall(r.roles, space, at, r.Reader.RolesAt, r.RolesSpan)
}

// AccessAt implements [SpaceReader].
func (r *snapshotCache) AccessAt(channel ID, at Position) (ChannelAccess, error) {
	return recall(r.access, channel, at, r.Reader.AccessAt, r.AccessSpan)
}

// recall returns the value of id at a position: the one in known if that was valid then, otherwise
// one that it loads into known.
func recall[T any](
	known map[ID]held[T], id ID, at Position, load func(ID, Position) (T, error), span func(ID, Position) (Span, error),
) (T, error) {
	if h, found := known[id]; found && holds(h.From, h.To, at) {
		return h.it, nil
	}
	it, err := load(id, at)
	if err != nil {
		return it, err
	}
	h := held[T]{Span: Span{From: Latest}, it: it}
	if at != Latest {
		var found bool
		if h.Span, found, err = maybe(span(id, at)); err != nil || !found {
			return it, err
		}
	}
	known[id] = h
	return it, nil
}

// SpaceMembersAt implements [SpaceReader]. It caches only calls for a single user, the actor.
func (r *snapshotCache) SpaceMembersAt(space, channel ID, at Position, users []UserID) ([]SpaceMember, error) {
	if len(users) != 1 {
		return r.Reader.SpaceMembersAt(space, channel, at, users)
	}
	known := r.members
	if at == Latest {
		known = r.present
	}
	m, found := known[inSpace{space, users[0]}]
	if !found || !m.memberAt(at) {
		list, err := r.Reader.SpaceMembersAt(space, 0, at, users)
		if err != nil || len(list) == 0 {
			return list, err
		}
		m = list[0]
		known[inSpace{space, users[0]}] = m
	}
	if channel != 0 {
		in, err := r.inChannel(channel, users[0])
		if err != nil {
			return nil, err
		}
		m.Lists, m.MutedHere = in.lists, in.muted
	}
	return []SpaceMember{m}, nil
}

func (r *snapshotCache) inChannel(channel ID, user UserID) (inOneChannel, error) {
	in, found := r.channels[inSpace{channel, user}]
	if found {
		return in, nil
	}
	var err error
	if in.lists, in.muted, err = r.InChannel(channel, user); err == nil {
		r.channels[inSpace{channel, user}] = in
	}
	return in, err
}

// memberAt reports whether the user was a member when an event happened. The event that ended their
// membership still counts as within it.
func (m SpaceMember) memberAt(at Position) bool {
	return slices.ContainsFunc(m.Intervals, func(i Interval) bool {
		return i.FromEvent <= at && (i.Open() || at <= i.ToEvent)
	})
}
