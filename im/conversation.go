package im

import "time"

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

// ConversationView is a conversation as one of its members sees it.
type ConversationView struct {
	Conversation
	Me Access
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
