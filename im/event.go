package im

import (
	"encoding/json"
	"math"
	"time"
)

// Position is a place in the event log. Positions rise in the order in which
// events become readable; the cursor of a client is one.
type Position int64

// Latest is a position after every event: what is asked for as of it is asked for
// as of now.
const Latest Position = math.MaxInt64

// EventType names what happened, in the past tense.
type EventType string

// The events of the log. Their names are the contract with clients.
const (
	MessageCreated        EventType = "message.created"
	MessageRevoked        EventType = "message.revoked"
	MessageBurnStarted    EventType = "message.burn_started"
	MessageBurned         EventType = "message.burned"
	MessageExpired        EventType = "message.expired"
	MessageHidden         EventType = "message.hidden"
	ReceiptDelivered      EventType = "receipt.delivered"
	ReceiptRead           EventType = "receipt.read"
	UnreadChanged         EventType = "unread.changed"
	ConversationCreated   EventType = "conversation.created"
	ConversationUpdated   EventType = "conversation.updated"
	ConversationHidden    EventType = "conversation.hidden"
	ConversationDeleted   EventType = "conversation.deleted"
	ConversationTrimmed   EventType = "conversation.trimmed"
	ConversationInvited   EventType = "conversation.invited"
	ConversationUninvited EventType = "conversation.uninvited"
	MemberAdded           EventType = "member.added"
	MemberRemoved         EventType = "member.removed"
	MemberUpdated         EventType = "member.updated"
	ThreadCreated         EventType = "thread.created"
	ThreadUpdated         EventType = "thread.updated"
	ThreadDeleted         EventType = "thread.deleted"
	SpaceCreated          EventType = "space.created"
	SpaceUpdated          EventType = "space.updated"
	SpaceDeleted          EventType = "space.deleted"
	SpaceInvited          EventType = "space.invited"
	SpaceUninvited        EventType = "space.uninvited"
	ChannelCreated        EventType = "channel.created"
	ChannelUpdated        EventType = "channel.updated"
	ChannelDeleted        EventType = "channel.deleted"
	ChannelOpened         EventType = "channel.opened"
	ChannelClosed         EventType = "channel.closed"
	RoleCreated           EventType = "role.created"
	RoleUpdated           EventType = "role.updated"
	RoleDeleted           EventType = "role.deleted"
)

// EventTypes are all of them, for those who must know every one.
var EventTypes = []EventType{
	MessageCreated, MessageRevoked, MessageBurnStarted, MessageBurned, MessageExpired,
	MessageHidden, ReceiptDelivered, ReceiptRead, UnreadChanged,
	ConversationCreated, ConversationUpdated, ConversationHidden, ConversationDeleted, ConversationTrimmed,
	ConversationInvited, ConversationUninvited,
	MemberAdded, MemberRemoved, MemberUpdated,
	ThreadCreated, ThreadUpdated, ThreadDeleted,
	SpaceCreated, SpaceUpdated, SpaceDeleted, SpaceInvited, SpaceUninvited,
	ChannelCreated, ChannelUpdated, ChannelDeleted, ChannelOpened, ChannelClosed,
	RoleCreated, RoleUpdated, RoleDeleted,
}

// change is what became of a place.
type change uint8

const (
	created change = iota
	updated
	deleted
)

// placeEvents tell of each kind of place, what it is called to clients.
var placeEvents = map[Kind][3]EventType{
	Direct:  {ConversationCreated, ConversationUpdated, ConversationDeleted},
	Group:   {ConversationCreated, ConversationUpdated, ConversationDeleted},
	Room:    {ConversationCreated, ConversationUpdated, ConversationDeleted},
	Thread:  {ThreadCreated, ThreadUpdated, ThreadDeleted},
	Channel: {ChannelCreated, ChannelUpdated, ChannelDeleted},
	Space:   {SpaceCreated, SpaceUpdated, SpaceDeleted},
}

// event is the event that tells what became of a place. What becomes of a thread
// is told to the members of the place that it hangs in.
func (c Conversation) event(what change, actor Actor, at time.Time) Event {
	e := Event{
		Type: placeEvents[c.Kind][what], At: at, Conversation: c.ID, Space: c.Space,
		Actor: actor.User, ActorDevice: actor.Device,
	}
	switch c.Kind {
	case Thread:
		e.Conversation, e.Thread, e.Root = c.Parent, c.ID, c.Root
		if what != deleted {
			e.Activity = &Activity{Messages: c.Messages, At: c.ActiveAt, Since: c.CreatedAt}
		}
	case Space:
		e.Space = c.ID
	default: // it is named by Conversation alone
	}
	return e
}

// Deletes reports whether the event says that a place was deleted.
func (t EventType) Deletes() bool {
	return t == ConversationDeleted || t == ThreadDeleted || t == ChannelDeleted || t == SpaceDeleted
}

// Erases reports whether the event says that a message was erased.
func (t EventType) Erases() bool {
	return t == MessageRevoked || t == MessageBurned || t == MessageExpired
}

// OfMessages reports whether the event is about messages and nothing else: retention
// removes it with them. An unread count stays, for it is of what is left.
func (t EventType) OfMessages() bool {
	switch t {
	case MessageCreated, MessageRevoked, MessageBurnStarted, MessageBurned, MessageExpired, MessageHidden,
		ReceiptDelivered, ReceiptRead:
		return true
	default:
		return false
	}
}

// Event is a fact that clients are told: one row of the log whatever the
// number of its readers. It is for those who were members of its conversation
// at its position, or addressed to one user. It carries ids, never a copy of
// content that could outlive it.
type Event struct {
	Position Position
	Type     EventType
	At       time.Time
	// Conversation is whose members are told.
	Conversation ID
	// To is the one user who is told; "" tells the members.
	To UserID
	// MessageID and Seq are of the message that it is about, if any.
	MessageID ID
	Seq       int64
	// Actor caused it, on ActorDevice if that named itself.
	Actor       UserID
	ActorDevice string
	// User and Role are of the member that it is about, if any.
	User UserID
	Role Role
	// MessageIDs or UpTo say which messages a receipt is for.
	MessageIDs []ID
	UpTo       ID
	// BurnAt is when the message that it is about burns.
	BurnAt time.Time
	// UpToSeq is the last of the messages that it is about, Before the time
	// before which those were created, FirstSeq the first that is left.
	UpToSeq  int64
	Before   time.Time
	FirstSeq int64
	// Unread is how many messages its reader has not read, nil if it does not
	// say.
	Unread *UnreadCount
	// Own is what its reader set for themselves, nil if it does not say.
	Own *OwnSettings
	// Space is the space that it is about, or that its channel is in.
	Space ID
	// Thread is the thread that it tells the members of the parent of, and Root the
	// message under which that is.
	Thread, Root ID
	// Activity is what a thread holds, nil if it does not say.
	Activity *Activity
	// RoleID is the role of a space that it is about.
	RoleID ID
	// MutedUntil is until when the member that it is about may not send.
	MutedUntil time.Time

	// What follows is never stored with the event.

	// Push is what who revoked a message gives to push: for those who are told
	// as it happens, and kept nowhere.
	Push Push
	// Mentioned are the users whom an erased message mentioned, for those who
	// are told as it happens, so that they can count.
	Mentioned []UserID
	// MentionedAll is the same of everyone.
	MentionedAll bool
	// Gone are the conversations that were deleted by it.
	Gone []ID
	// HiddenBy are the members who have hidden the message that it is about, and
	// are not told.
	HiddenBy []UserID
	// Tracked is set when being told of the message counts as a receipt.
	Tracked bool
	// Late is how long after it was due a timer erased the message.
	Late time.Duration
	// Message is what the reader may see of the message: on the way out of a
	// commit as it was committed, on replay as it is now.
	Message *Message
}

// Activity is how many messages of a thread were not erased, and when the newest
// of them was sent.
type Activity struct {
	Messages int64
	At       time.Time
	// Since is when the thread was created. In a group that shows its history from
	// joining on, ThreadUpdated comes without an activity to who joined later.
	Since time.Time
}

// OwnSettings are those of a conversation that each member has of their own.
type OwnSettings struct{ Pinned, Muted bool }

// Push is for the application's push service: text, and any JSON value.
type Push struct {
	Content string
	Payload json.RawMessage
}

// EventWindow is a stretch of the log as one user sees it.
type EventWindow struct {
	// Events are in the order of the log.
	Events []Event
	// Through is the position up to which the log has been looked through:
	// where the next window begins after.
	Through Position
	// Cut is the log's, as of the same moment: if it is past where the window
	// begins, events may be missing from it.
	Cut Position
}

// LogBounds are the ends of the event log.
type LogBounds struct {
	// Cut is the newest position that is gone; a reader who has not passed it
	// has missed something.
	Cut Position
	// Head is the newest position, readable now.
	Head Position
	// Past are the logs that this one goes on from.
	Past []PastLog
}

// PastLog is a log that a restored backup has ended: the one that follows begins with
// all of it up to Head, and what it told after that is not known any more.
type PastLog struct {
	Log  uint32
	Head Position
}

// TokenCut says that a user's tokens issued at or before a time are no longer
// good.
type TokenCut struct {
	User UserID
	At   time.Time
}

// Commit is what a transaction made known, told by the store after COMMIT, in
// the order of commits.
type Commit struct {
	// Events are those appended, in the order of their positions, each with
	// its Message.
	Events []Event
	// Cuts are the token cut-offs made.
	Cuts []TokenCut
	// Due is the earliest time at which a message of the commit erases itself,
	// zero if none does.
	Due time.Time
	// Head is the newest position of the log after the commit.
	Head Position
	// Gap says that events up to Head may be missing from Events, after a
	// commit of unknown outcome: whoever follows must read the log.
	Gap bool
}
