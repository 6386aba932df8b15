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
	// Space holds channels and has no messages of its own. It is stored as a conversation
	// because it has members, and never returned as one.
	Space Kind = 6
)

var kindNames = names[Kind]{
	Direct: "direct", Group: "group", Room: "room", Thread: "thread", Channel: "channel", Space: "space",
}

// String returns the kind as clients know it.
func (k Kind) String() string { return kindNames[k] }

// ParseKind reads what [Kind.String] wrote.
func ParseKind(s string) (Kind, bool) { return kindNames.parse(s) }

// Role is the role of a member. In a direct conversation, group or room a higher role has all
// permissions of the lower ones.
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

// History says how much of a conversation a new member may read.
type History uint8

// The settings of history. Their numbers are stored: never reuse one.
const (
	HistoryJoined History = 1 // from joining on
	HistoryAll    History = 2 // all of it
)

var historyNames = names[History]{HistoryJoined: "joined", HistoryAll: "all"}

// String returns the setting as clients know it.
func (h History) String() string { return historyNames[h] }

// ParseHistory reads what [History.String] wrote.
func ParseHistory(s string) (History, bool) { return historyNames.parse(s) }

// Conversation is where messages are. A space is stored as one, too.
type Conversation struct {
	ID      ID
	Kind    Kind
	Name    string
	History History
	// RevokeWindow is the time for which members may revoke their own messages; nil uses the
	// policy's, 0 sets no limit.
	RevokeWindow *time.Duration
	// RevokeOthersWindow is the time for which members with [PermissionRevokeOthers] may revoke
	// messages of others; nil uses the policy's, 0 sets no limit.
	RevokeOthersWindow *time.Duration
	// ExpireAfter is the time until messages expire that were sent without a time of their own; 0
	// means never.
	ExpireAfter time.Duration
	// Retention is the longest time that a message is kept; nil uses the policy's, 0 means forever.
	Retention *time.Duration
	// Announcement and Avatar are displayed by the application. The avatar is a URL or any other
	// text.
	Announcement string
	Avatar       string
	// Join is set for groups and spaces, Invite for groups.
	Join   JoinPolicy
	Invite InvitePolicy
	// MuteAll keeps members without [PermissionMute] from sending.
	MuteAll bool
	// SlowMode is the time that members without [PermissionMute] must wait between two messages; 0
	// means none.
	SlowMode time.Duration
	// Private is set for a channel that only some members of its space can see.
	Private bool
	// Peers are the two users of a direct conversation, in byte order.
	Peers [2]UserID
	// Creator is the user who created it, "" if that is not known.
	Creator UserID
	// Parent is the group or channel of a thread, and Root the message that the thread is
	// about.
	Parent, Root ID
	// Space is the space of a channel, or of a thread in a channel.
	Space ID
	// Messages is the number of messages of a thread that are not erased. ActiveAt is when
	// the newest of them was sent, or when the thread was created if there is none.
	Messages int64
	ActiveAt time.Time
	// MemberCount is the number of users who are members now.
	MemberCount int
	// LastSeq is the seq of the newest message, 0 if there is none.
	LastSeq int64
	// FirstSeq is the lowest seq of the messages that are left, or the next seq if none is.
	FirstSeq int64
	// Counted is the number of messages that were ever sent. Quiet ones, which were imported,
	// do not count.
	Counted int64
	// OldestAt is the oldest CreatedAt of the messages that are left, zero if none is.
	OldestAt time.Time
	// TrimBefore is the cutoff of the trimming in progress, zero if there is none.
	TrimBefore time.Time
	// DeletedAt is when the conversation was deleted for everyone, zero if it was not. Users
	// cannot see a deleted conversation; the event log and the purge job still need it.
	DeletedAt time.Time
	// LastEvent is the position of the newest event for its members; in a space, events of its
	// channels count, too.
	LastEvent Position
	CreatedAt time.Time
	// UpdatedAt is the time of the last activity: the creation, a published message, or a
	// change of the conversation itself.
	UpdatedAt time.Time
	// ListedAt is when it was last active: the latest of its creation and the CreatedAt of
	// messages that were published or that all members can see. Unlike UpdatedAt, it does not
	// change with name and settings. The store computes it.
	ListedAt time.Time
	// EditedAt is the time of the last change of the conversation itself, or of its creation.
	EditedAt time.Time
}

// Peer returns the other user of a direct conversation, and "" for other kinds.
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

// PeersOf returns two users in the order of [Conversation.Peers]. With this order two users have
// one direct conversation, whoever is named first.
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
	// LastMessage is the newest message that the member may read, nil if there is none.
	LastMessage *Message
	// Hidden is set while the member has hidden the conversation.
	Hidden bool
	// Unread has the counts of what the member has not read.
	Unread UnreadCount
	// Later is set for a member who joined the parent of a thread after the thread was
	// created, if the parent shows its history from joining on. They may not learn how many
	// messages it has, so Messages is 0. Name and ActiveAt are empty if they date from before the
	// joining.
	Later bool
}
