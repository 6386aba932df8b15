package im

import (
	"encoding/json"
	"math"
	"time"
)

// Position is a position in the event log. Positions rise in the order in which events
// become readable. The cursor of a client is an encoded position.
type Position int64

// Latest is a position after every event. Reads as of it return the current state.
const Latest Position = math.MaxInt64

// EventType names what happened.
type EventType string

// The types of events. Their names are part of the API.
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
	BlockCreated          EventType = "block.created"
	BlockDeleted          EventType = "block.deleted"
)

// EventTypes are the types of events that clients can receive: all but those about webhooks.
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
	BlockCreated, BlockDeleted,
}

// change is what happened to a conversation or space.
type change uint8

const (
	created change = iota
	updated
	deleted
)

// changeEvents are the types of the events about changes, by kind and change.
var changeEvents = map[Kind][3]EventType{
	Direct:  {ConversationCreated, ConversationUpdated, ConversationDeleted},
	Group:   {ConversationCreated, ConversationUpdated, ConversationDeleted},
	Room:    {ConversationCreated, ConversationUpdated, ConversationDeleted},
	Thread:  {ThreadCreated, ThreadUpdated, ThreadDeleted},
	Channel: {ChannelCreated, ChannelUpdated, ChannelDeleted},
	Space:   {SpaceCreated, SpaceUpdated, SpaceDeleted},
}

// event returns the event about a change of the conversation. For a thread it goes to the
// members of the parent.
func (c Conversation) event(what change, actor Actor, at time.Time) Event {
	e := Event{
		Type: changeEvents[c.Kind][what], At: at, Conversation: c.ID, Space: c.Space,
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
	default: // Conversation names it
	}
	return e
}

// Deletes reports whether the event is the deletion of a conversation or space.
func (t EventType) Deletes() bool {
	return t == ConversationDeleted || t == ThreadDeleted || t == ChannelDeleted || t == SpaceDeleted
}

// Erases reports whether the event is the erasure of a message.
func (t EventType) Erases() bool {
	return t == MessageRevoked || t == MessageBurned || t == MessageExpired
}

// OfMessages reports whether the event is only about messages, so that retention trims it with
// them. An event with an unread count is not, because the count is still true afterwards.
func (t EventType) OfMessages() bool {
	switch t {
	case MessageCreated, MessageRevoked, MessageBurnStarted, MessageBurned, MessageExpired, MessageHidden,
		ReceiptDelivered, ReceiptRead:
		return true
	default:
		return false
	}
}

// Event is a fact published to clients: one row of the log, however many users receive it.
// It is for the users who were members of its conversation at its position, or addressed to
// one user. It has ids and never content, which could outlive an erasure.
type Event struct {
	Position Position
	Type     EventType
	At       time.Time
	// Conversation is the conversation whose members receive the event.
	Conversation ID
	// To is the only user who receives it, "" for the members.
	To UserID
	// MessageID and Seq identify the message concerned, if any.
	MessageID ID
	Seq       int64
	// Actor is the user who caused it, ActorDevice their device if it has a name.
	Actor       UserID
	ActorDevice string
	// User is the member or the blocked user concerned, if any, and Role the role of the member.
	User UserID
	Role Role
	// MessageIDs or UpTo say which messages a receipt is for.
	MessageIDs []ID
	UpTo       ID
	// BurnAt is when the message burns.
	BurnAt time.Time
	// UpToSeq is the seq of the last message concerned, and Before is a time after the creation of
	// all of them. FirstSeq is the seq of the first message that is left.
	UpToSeq  int64
	Before   time.Time
	FirstSeq int64
	// Unread is the unread count of the user who receives the event, nil if the event has none.
	Unread *UnreadCount
	// Own are the own settings of the user who receives the event, nil if the event has none.
	Own *OwnSettings
	// Space is the space concerned, or the space of the channel.
	Space ID
	// Thread is the thread concerned if the event goes to the members of its parent, and Root
	// the message that the thread is under.
	Thread, Root ID
	// Activity is the activity of the thread, nil if the event has none.
	Activity *Activity
	// RoleID is the role of a space, if one is concerned.
	RoleID ID
	// MutedUntil is when the member's mute ends.
	MutedUntil time.Time
	// Webhook is the webhook concerned. Reason is the reason why it is off or has lost events.
	// After is the last event before a gap.
	Webhook ID
	Reason  WebhookReason
	After   Position

	// The following fields are never stored with the event.

	// Push is the push notification of the user who revoked a message. Only open streams and
	// webhooks receive it.
	Push Push
	// Mentioned are the users whom an erased message mentioned, and MentionedAll is set if
	// it mentioned all members. Clients with open streams adjust their counts with them.
	Mentioned    []UserID
	MentionedAll bool
	// Gone are the conversations that the event deleted.
	Gone []ID
	// HiddenBy are the members who have hidden the message. They do not receive the event, unless
	// it is the creation of the message.
	HiddenBy []UserID
	// Tracked is set if delivering the event counts as a delivered receipt.
	Tracked bool
	// Late is the time from when the message was due until it was erased.
	Late time.Duration
	// Message is the message concerned: as committed when the event is published, as it reads
	// now when the event is replayed.
	Message *Message
}

// Activity is the number of messages of a thread that are not erased and that all members can see,
// and when the newest of them was sent; if there are none, when the thread was created.
type Activity struct {
	Messages int64
	At       time.Time
	// Since is when the thread was created. Users who joined the parent later receive
	// ThreadUpdated without an activity if the parent shows its history from joining on.
	Since time.Time
}

// OwnSettings are a member's own settings of a conversation.
type OwnSettings struct{ Pinned, Muted bool }

// Push is a notification about a revoke for the application's push service: a text and any JSON
// value.
type Push struct {
	Content string
	Payload json.RawMessage
}

// EventWindow is a part of the log as one user receives it.
type EventWindow struct {
	// Events are in the order of the log.
	Events []Event
	// Through is the position up to which the log was examined. The next window begins after
	// it.
	Through Position
	// Cut is [LogBounds].Cut in the same snapshot. If it is greater than the position that
	// the window begins after, events may be missing.
	Cut Position
}

// LogBounds are the ends of the event log.
type LogBounds struct {
	// Cut is the greatest position whose event was trimmed. A client with a lower cursor has
	// missed events.
	Cut Position
	// Head is the greatest position.
	Head Position
	// Past are the logs that this one continues.
	Past []PastLog
}

// PastLog is a log that ended with a restored backup. The next log has its events up to
// Head; those after it are lost.
type PastLog struct {
	Log  uint32
	Head Position
}

// TokenCut invalidates all tokens of a user that were issued at or before a time.
type TokenCut struct {
	User UserID
	At   time.Time
}

// UserBlock records that a user has blocked another user.
type UserBlock struct{ By, User UserID }

// Commit is what a committed transaction publishes. The store gives it to its listeners in
// the order of commits.
type Commit struct {
	// Events are the appended events, in the order of their positions, each with its
	// Message.
	Events []Event
	// Cuts are the cut-offs of tokens.
	Cuts []TokenCut
	// Blocks are the blocks of users by others.
	Blocks []UserBlock
	// Due is the earliest due time that the commit has set for a message, zero if none.
	Due time.Time
	// Head is the greatest position of the log after the commit.
	Head Position
	// Webhooks is set if the transaction has changed webhooks, or their deliveries on behalf
	// of an admin.
	Webhooks bool
	// Gap is set after a commit of unknown outcome: events up to Head may be missing from
	// Events, and a listener must read the log.
	Gap bool
}
