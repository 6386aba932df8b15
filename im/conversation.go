package im

import (
	"slices"
	"time"
)

// Kind is the kind of a conversation.
type Kind uint8

// The kinds of conversation. Their numbers are stored: never reuse one.
const (
	Direct Kind = 1 // two users
	Group  Kind = 2
)

var kindNames = names[Kind]{Direct: "direct", Group: "group"}

// String returns the kind as clients know it.
func (k Kind) String() string { return kindNames[k] }

// ParseKind reads what [Kind.String] wrote.
func ParseKind(s string) (Kind, bool) { return kindNames.parse(s) }

// Role is what a member is in a conversation. A higher role may do all that a
// lower one may.
type Role uint8

// The roles. Their numbers are stored: never reuse one.
const (
	Member Role = 1
	Admin  Role = 2
	Owner  Role = 3
)

var roleNames = names[Role]{Member: "member", Admin: "admin", Owner: "owner"}

// String returns the role as clients know it.
func (r Role) String() string { return roleNames[r] }

// ParseRole reads what [Role.String] wrote.
func ParseRole(s string) (Role, bool) { return roleNames.parse(s) }

// History says how much of a conversation somebody who joins may read.
type History uint8

// The settings of history. Their numbers are stored: never reuse one.
const (
	HistoryJoined History = 1 // from the joining on
	HistoryAll    History = 2 // all of it
)

var historyNames = names[History]{HistoryJoined: "joined", HistoryAll: "all"}

// String returns the setting as clients know it.
func (h History) String() string { return historyNames[h] }

// ParseHistory reads what [History.String] wrote.
func ParseHistory(s string) (History, bool) { return historyNames.parse(s) }

// MaxName is the longest name of a conversation, in characters.
const MaxName = 128

// Conversation is a place for messages.
type Conversation struct {
	ID      ID
	Kind    Kind
	Name    string
	History History
	// RevokeWindow is how long a member may revoke what they sent; nil leaves
	// that to the policy, 0 sets no limit.
	RevokeWindow *time.Duration
	// ExpireAfter is when messages expire that do not say so themselves; 0
	// lets them stay.
	ExpireAfter time.Duration
	// Retention is the longest that a message is kept; nil leaves that to the
	// policy, 0 keeps it for ever.
	Retention *time.Duration
	// Peers are the two users of a direct conversation, in byte order.
	Peers [2]UserID
	// MemberCount is the number of users who are members now.
	MemberCount int
	// LastSeq is the seq of the newest message, 0 without any.
	LastSeq int64
	// FirstSeq is the lowest seq that is left, or the next one if none is.
	FirstSeq int64
	// Counted is how many messages there ever were that were not quiet.
	Counted int64
	// OldestAt is the oldest CreatedAt of the messages that are left, zero
	// without any.
	OldestAt time.Time
	// TrimBefore is the cutoff of a trimming that is under way, zero without
	// one.
	TrimBefore time.Time
	// DeletedAt is when it was deleted for everyone, zero while it was not. What
	// is deleted is known to no one but the event log and who cleans up.
	DeletedAt time.Time
	// LastEvent is the position of the newest event for its members.
	LastEvent Position
	CreatedAt time.Time
	// UpdatedAt is the time of the last activity: creation, a message that was
	// told, or a change of what clients see of the conversation itself.
	UpdatedAt time.Time
	// EditedAt is the time of the last such change, or of the creation.
	EditedAt time.Time
}

// Peer returns the other user of a direct conversation, "" for other kinds.
func (c Conversation) Peer(user UserID) UserID {
	switch {
	case c.Kind != Direct:
		return ""
	case c.Peers[0] == user:
		return c.Peers[1]
	default:
		return c.Peers[0]
	}
}

// PeersOf returns two users in the order in which a direct conversation keeps
// them, so that there is one conversation for the two.
func PeersOf(a, b UserID) [2]UserID {
	if b < a {
		a, b = b, a
	}
	return [2]UserID{a, b}
}

// Interval is one stay of a member. What happened in it, as events and as
// messages, is theirs to see; people leave and come back, so there may be
// several.
type Interval struct {
	FromEvent Position // the event that made them a member
	ToEvent   Position // the event that ended it; 0 while it lasts
	FromSeq   int64    // the first message of the stay
	ToSeq     int64    // the last one; meaningful once ToEvent is set
}

// Open reports whether the stay lasts.
func (i Interval) Open() bool { return i.ToEvent == 0 }

// Membership is a user's standing in a conversation.
type Membership struct {
	Conversation ID
	User         UserID
	Role         Role
	JoinedAt     time.Time
	// Mark is what the user made of the conversation for themselves.
	Mark Mark
	// Intervals are the stays, oldest first. The last one is open exactly
	// when the user is a member now.
	Intervals []Interval
}

// Active reports whether the user is a member now.
func (m Membership) Active() bool {
	return len(m.Intervals) > 0 && m.Intervals[len(m.Intervals)-1].Open()
}

// SeqRange is a range of messages, both ends included.
type SeqRange struct{ From, To int64 }

// Visible returns what a member may read of a conversation now, oldest first:
// all of it, or the messages of their stays, as the conversation says. It is
// empty for who is not a member now.
func (m Membership) Visible(c Conversation) []SeqRange {
	if !m.Active() {
		return nil
	}
	if c.History == HistoryAll {
		return []SeqRange{{From: 1, To: c.LastSeq}}
	}
	return m.Stays(c)
}

// Stays returns the messages that were sent while the user was a member, oldest
// first.
func (m Membership) Stays(c Conversation) []SeqRange {
	ranges := make([]SeqRange, 0, len(m.Intervals))
	for _, i := range m.Intervals {
		r := SeqRange{From: i.FromSeq, To: i.ToSeq}
		if i.Open() {
			r.To = c.LastSeq
		}
		if r.From > r.To {
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1].To+1 >= r.From {
			ranges[n-1].To = r.To // nothing was missed between the two stays
			continue
		}
		ranges = append(ranges, r)
	}
	return ranges
}

// Sees reports whether a member may read the message with this seq now.
func (m Membership) Sees(c Conversation, seq int64) bool {
	for _, r := range m.Visible(c) {
		if r.From <= seq && seq <= r.To {
			return true
		}
	}
	return false
}

// Told reports whether the events of a message are for who is, or was, a
// member to be told: those of messages that they could read when they were in.
func (m Membership) Told(c Conversation, seq int64) bool {
	if c.History == HistoryAll {
		return true
	}
	return slices.ContainsFunc(m.Intervals, func(i Interval) bool {
		return i.FromSeq <= seq && (i.Open() || seq <= i.ToSeq)
	})
}

// ConversationView is a conversation as one of its members sees it.
type ConversationView struct {
	Conversation
	Me Membership
	// LastMessage is the newest message that the member may read, nil
	// without one.
	LastMessage *Message
	// Hidden is set while the member has hidden it.
	Hidden bool
	// Unread counts what the member has not read.
	Unread UnreadCount
}

// ConversationRef names a conversation in a request: by its id, or, as
// "@user", as the actor's direct conversation with that user.
type ConversationRef struct {
	ID   ID
	Peer UserID
}

// ParseConversationRef reads an id or "@user". It reports false for what can
// name no conversation.
func ParseConversationRef(s string) (ConversationRef, bool) {
	if len(s) > 0 && s[0] == '@' {
		peer := UserID(s[1:])
		return ConversationRef{Peer: peer}, peer.Valid()
	}
	id, ok := ParseID(s)
	return ConversationRef{ID: id}, ok
}

// names are the texts by which clients know the values of an enumeration.
type names[T comparable] map[T]string

func (n names[T]) parse(s string) (T, bool) {
	for v, name := range n {
		if name == s {
			return v, true
		}
	}
	var zero T
	return zero, false
}
