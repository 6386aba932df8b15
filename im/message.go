package im

import (
	"encoding/json"
	"time"
)

// MessageType says what the body of a message is.
type MessageType uint8

// The types of message. Their numbers are stored: never reuse one.
const (
	Text     MessageType = 1
	Location MessageType = 7
	Custom   MessageType = 9
)

var messageTypeNames = names[MessageType]{Text: "text", Location: "location", Custom: "custom"}

// String returns the type as clients know it.
func (t MessageType) String() string { return messageTypeNames[t] }

// HasWords reports whether messages of this type have words by which they are found; see
// [Message.Words].
func (t MessageType) HasWords() bool { return t == Text || t == Location }

// ParseMessageType reads what [MessageType.String] wrote.
func ParseMessageType(s string) (MessageType, bool) { return messageTypeNames.parse(s) }

// State is what has become of a message.
type State uint8

// The states. A message leaves Active once and for ever. Their numbers are
// stored: never reuse one.
const (
	Active  State = 1
	Revoked State = 2 // withdrawn for everyone
	Burned  State = 3 // destroyed because its recipient has read it
	Expired State = 4 // destroyed because its time ran out
)

var stateNames = names[State]{Active: "active", Revoked: "revoked", Burned: "burned", Expired: "expired"}

// String returns the state as clients know it.
func (s State) String() string { return stateNames[s] }

// ParseState reads what [State.String] wrote.
func ParseState(s string) (State, bool) { return stateNames.parse(s) }

// Content is what a message says, and all of it that must be gone once the
// message is taken back. It is stored apart from the message for that reason.
type Content struct {
	// Sent is the canonical JSON of the request, by which a repetition of it
	// is told from another message under the same client_id.
	Sent []byte
	// Body and Ext are JSON objects within Sent.
	Body     json.RawMessage
	Ext      json.RawMessage
	Mentions []UserID
	// MentionAll says that everyone is mentioned.
	MentionAll bool
}

// Message is what a sender put into a conversation.
type Message struct {
	ID           ID
	Conversation ID
	// Seq is dense and rising within the conversation, from 1.
	Seq          int64
	Sender       UserID
	SenderDevice string
	ClientID     string
	Type         MessageType
	State        State
	ReplyTo      ID
	Receipt      bool
	CreatedAt    time.Time
	// Quiet is set for a message that was imported or inserted: it is told to
	// nobody and counts as read.
	Quiet bool
	// VisibleTo is the one member who can see the message, "" for all.
	VisibleTo UserID
	// ExpiresAt is when the message expires, zero if it does not.
	ExpiresAt time.Time
	// Burn is nil for a message that was not sent for burning.
	Burn *Burn
	// Content is nil once the message was erased.
	Content *Content
	// Erased says how the message was taken back, nil while it was not.
	Erased *Erasure
}

// Burn says how a direct message burns.
type Burn struct {
	// After is how long it may be looked at once it was read.
	After time.Duration
	// UnreadTTL is how long it waits to be read, from sending.
	UnreadTTL time.Duration
	// At is when it burns, zero until it was read.
	At time.Time
}

// Erasure says how a message was taken back. It is all that a tombstone has
// besides what the message is known by.
type Erasure struct {
	State State
	// At is when nobody could read it any more.
	At time.Time
	// By is who did it, "" for a timer.
	By UserID
	// Postscript and Extension are what who revoked it left in its place.
	Postscript string
	Extension  json.RawMessage
}

// Due returns when a message erases itself, and what it then is; false if it
// does not. Where it may both burn and expire, the earlier counts.
func (m Message) Due() (at time.Time, state State, ok bool) {
	if m.State != Active {
		return time.Time{}, 0, false
	}
	if b := m.Burn; b != nil {
		at, state = b.At, Burned
		if at.IsZero() {
			at = m.CreatedAt.Add(b.UnreadTTL)
		}
	}
	if !m.ExpiresAt.IsZero() && (at.IsZero() || m.ExpiresAt.Before(at)) {
		at, state = m.ExpiresAt, Expired
	}
	return at, state, !at.IsZero()
}

// AsOf returns the message as it is to be read at a time: one that is due is a
// tombstone to every reader at once, whether or not its erasing has come to
// it.
func (m Message) AsOf(now time.Time) Message {
	if at, state, ok := m.Due(); ok && !at.After(now) {
		return m.Tombstone(Erasure{State: state, At: at})
	}
	return m
}

// size is about how many bytes a message takes in a page.
func (m Message) size() int {
	n := 256 // ids, times and names
	if m.Content != nil {
		n += len(m.Content.Sent)
	}
	if m.Erased != nil {
		n += len(m.Erased.Postscript) + len(m.Erased.Extension)
	}
	return n
}

// Shredded returns what is left of an active message whose key was found to be shredded:
// the tombstone of a reader that knows the code alone. Who did it is in the row, once
// that is read again.
func (m Message) Shredded(code ShredCode) Message {
	state, ok := code.State()
	if !ok {
		state = Expired // it was removed, as by retention
	}
	return m.Tombstone(Erasure{State: state, At: m.CreatedAt})
}

// Tombstone returns what is left of the message after an erasure.
func (m Message) Tombstone(e Erasure) Message {
	m.State, m.Content, m.Erased = e.State, nil, &e
	return m
}
