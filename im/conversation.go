package im

import (
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// Kind is the kind of a conversation.
type Kind uint8

// The kinds of conversation. Their numbers are stored: never reuse one.
const (
	Direct  Kind = 1 // two users
	Group   Kind = 2
	Room    Kind = 3 // an open chat room
	Thread  Kind = 4 // under a message of a group or channel
	Channel Kind = 5 // in a space
	// Space holds channels and is no place for messages itself: it is kept as a
	// conversation for its members' sake, and shown to nobody as one.
	Space Kind = 6
)

var kindNames = names[Kind]{
	Direct: "direct", Group: "group", Room: "room", Thread: "thread", Channel: "channel", Space: "space",
}

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

// Conversation is a place for messages.
type Conversation struct {
	ID      ID
	Kind    Kind
	Name    string
	History History
	// RevokeWindow is how long a member may revoke what they sent; nil leaves
	// that to the policy, 0 sets no limit.
	RevokeWindow *time.Duration
	// RevokeOthersWindow is the same for those who may revoke what others sent.
	RevokeOthersWindow *time.Duration
	// ExpireAfter is when messages expire that do not say so themselves; 0
	// lets them stay.
	ExpireAfter time.Duration
	// Retention is the longest that a message is kept; nil leaves that to the
	// policy, 0 keeps it for ever.
	Retention *time.Duration
	// Announcement and Avatar are the application's to show; the avatar is a URL,
	// or whatever it makes of it.
	Announcement string
	Avatar       string
	// Join and Invite are of groups and spaces.
	Join   JoinPolicy
	Invite InvitePolicy
	// MuteAll keeps all from sending who may not mute others.
	MuteAll bool
	// SlowMode is how long somebody who may not mute others waits between two
	// messages; 0 does not make them.
	SlowMode time.Duration
	// Private is set for a channel that only some members of its space see.
	Private bool
	// Peers are the two users of a direct conversation, in byte order.
	Peers [2]UserID
	// Creator is who created it, "" where that is not known.
	Creator UserID
	// Parent is the group or channel that a thread hangs in, and Root the message
	// that it hangs under.
	Parent, Root ID
	// Space is that of a channel, and of a thread in one.
	Space ID
	// Messages is how many messages of a thread were not erased, and ActiveAt when
	// the newest of them was sent, or the thread created.
	Messages int64
	ActiveAt time.Time
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
	// ListedAt is when it was last active: when it was created, or the CreatedAt of the
	// newest message that was told or that all can see, if that is later. Unlike
	// UpdatedAt it does not change with name and settings. The store keeps it.
	ListedAt time.Time
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
	Left      bool     // the member ended it themselves
}

// Open reports whether the stay lasts.
func (i Interval) Open() bool { return i.ToEvent == 0 }

// Membership is a user's standing in a conversation.
type Membership struct {
	Conversation ID
	User         UserID
	Role         Role
	JoinedAt     time.Time
	// ReturnedAt is when the user came back, as [ErasureWriter.Stamp] has it; zero if they never
	// left. It is for the store alone, which does not return it.
	ReturnedAt time.Time
	// Mark is what the user made of the conversation for themselves.
	Mark Mark
	// MutedUntil is until when the user may not send, zero if they may. See
	// [MutedForGood].
	MutedUntil time.Time
	// May is what the user may do there now: nothing, for who cannot see it. The
	// store does not know it.
	May Permissions
	// Looks is set for who may read a thread without having joined it.
	Looks bool
	// ReadsFrom is the first message that is theirs to read besides those of their
	// stays, 0 if all are: of a thread, where what it hangs in shows its history from
	// joining on.
	ReadsFrom int64
	// JoinedAbove is when they joined what such a thread hangs in, zero of all else:
	// of what was said and set before they learn nothing.
	JoinedAbove time.Time
	// SlowMode is how long the user waits between two messages, 0 if they do not.
	SlowMode time.Duration
	// Above are what the conversation hangs in, the nearest first: what it does
	// not say of windows they do.
	Above []Conversation
	// Intervals are the stays, oldest first. The last one is open exactly
	// when the user is a member now.
	Intervals []Interval
}

// MutedForGood is until when somebody is muted of whom it was not said.
var MutedForGood = time.UnixMilli(math.MaxInt64 >> idRandomBits).UTC()

// Active reports whether the user is a member now.
func (m Membership) Active() bool {
	return len(m.Intervals) > 0 && m.Intervals[len(m.Intervals)-1].Open()
}

// Left reports whether the user was a member and ended that themselves.
func (m Membership) Left() bool {
	return len(m.Intervals) > 0 && !m.Active() && m.Intervals[len(m.Intervals)-1].Left
}

// SeqRange is a range of messages, both ends included.
type SeqRange = seqs.Range

// Visible returns what a member may read of a conversation now, oldest first:
// all of it, or the messages of their stays, as the conversation says. It is
// empty for who is not a member now.
func (m Membership) Visible(c Conversation) seqs.Set {
	if !m.Active() && !m.Looks {
		return nil
	}
	if m.ReadsFrom > 0 {
		return m.Stays(c, Interval{FromSeq: m.ReadsFrom})
	}
	if c.History == HistoryAll {
		return seqs.Set{{From: 1, To: c.LastSeq}}
	}
	return m.Stays(c)
}

// Stays returns the messages that were sent while the user was a member, oldest
// first, and those of one more stay, if it is given, which lasts.
func (m Membership) Stays(c Conversation, also ...Interval) seqs.Set {
	ranges := make([]SeqRange, 0, len(m.Intervals)+len(also))
	for _, i := range append(m.Intervals[:len(m.Intervals):len(m.Intervals)], also...) {
		r := SeqRange{From: i.FromSeq, To: i.ToSeq}
		if i.Open() {
			r.To = c.LastSeq
		}
		ranges = append(ranges, r)
	}
	return seqs.Union(ranges...) // between two that touch nothing was missed
}

// Sees reports whether a member may read the message with this seq now.
func (m Membership) Sees(c Conversation, seq int64) bool {
	return m.Visible(c).Has(seq)
}

// Told reports whether the events of a message are for who is, or was, a
// member to be told: those of messages that they could read when they were in.
func (m Membership) Told(c Conversation, seq int64) bool {
	if m.ReadsFrom == 0 && c.History == HistoryAll || m.ReadsFrom > 0 && seq >= m.ReadsFrom {
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
	// Later is set for who joined what a thread hangs in later than the thread was
	// created, where it shows its history from joining on: Messages are none of theirs
	// to know, nor a name or an activity from before, which are empty then.
	Later bool
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
