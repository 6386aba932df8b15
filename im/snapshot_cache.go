package im

import (
	"slices"
	"time"
)

// Span is a stretch of the event log: from one event on, and up to another, which it
// does not hold after; To is 0 while it lasts.
type Span struct{ From, To Position }

// remembered is a reader of a snapshot that remembers what decides who sees a
// conversation: asked for each of many messages, events or channels in one read, that
// is loaded once, and what is decided by the space once for all its channels.
type remembered struct {
	Reader
	conversations map[ID]Conversation
	roles         map[ID]held[SpaceRoles]
	access        map[ID]held[ChannelAccess]
	members       map[inSpace]SpaceMember
	present       map[inSpace]SpaceMember // members as of now, of whom only that is known
	channels      map[inSpace]inOneChannel
}

// inSpace is a user in a space or in one of its channels.
type inSpace struct {
	id   ID
	user UserID
}

// inOneChannel is what decides, besides the space, what a user may in a channel.
type inOneChannel struct {
	lists []ListStay
	muted time.Time
}

// held is what held during a span.
type held[T any] struct {
	Span
	it T
}

func remember(r Reader) Reader {
	return &remembered{
		Reader:        r,
		conversations: make(map[ID]Conversation),
		roles:         make(map[ID]held[SpaceRoles]),
		access:        make(map[ID]held[ChannelAccess]),
		members:       make(map[inSpace]SpaceMember),
		present:       make(map[inSpace]SpaceMember),
		channels:      make(map[inSpace]inOneChannel),
	}
}

// Conversation returns one by its id.
func (r *remembered) Conversation(id ID) (Conversation, error) {
	if c, found := r.conversations[id]; found {
		return c, nil
	}
	c, err := r.Reader.Conversation(id)
	if err == nil {
		r.conversations[id] = c
	}
	return c, err
}

// RolesAt returns the roles of a space as they were after an event.
func (r *remembered) RolesAt(space ID, at Position) (SpaceRoles, error) {
	return recall(r.roles, space, at, r.Reader.RolesAt, r.RolesSpan)
}

// AccessAt returns what decided about a channel after an event.
func (r *remembered) AccessAt(channel ID, at Position) (ChannelAccess, error) {
	return recall(r.access, channel, at, r.Reader.AccessAt, r.AccessSpan)
}

// recall returns what held of id at a position, from known if it is there.
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

// SpaceMembersAt returns which of the users were members of a space when an event
// happened. Only one user is remembered: who asks.
func (r *remembered) SpaceMembersAt(space, channel ID, at Position, users []UserID) ([]SpaceMember, error) {
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

func (r *remembered) inChannel(channel ID, user UserID) (inOneChannel, error) {
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

// memberAt reports whether the member was one when an event happened, the one that
// ended it among them.
func (m SpaceMember) memberAt(at Position) bool {
	return slices.ContainsFunc(m.Intervals, func(i Interval) bool {
		return i.FromEvent <= at && (i.Open() || at <= i.ToEvent)
	})
}
