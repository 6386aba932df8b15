package im

import (
	"encoding/json"
	"time"
)

// MessageType is the type of a message's body.
type MessageType uint8

// The types of message. Their numbers are stored: never reuse one.
const (
	Text     MessageType = 1
	Image    MessageType = 2
	Audio    MessageType = 3
	Video    MessageType = 4
	File     MessageType = 5
	Location MessageType = 7
	Custom   MessageType = 9
)

var messageTypeNames = names[MessageType]{
	Text: "text", Image: "image", Audio: "audio", Video: "video", File: "file", Location: "location", Custom: "custom",
}

// String returns the type as clients know it.
func (t MessageType) String() string { return messageTypeNames[t] }

// HasWords reports whether a search finds messages of this type by their words; see
// [Message.Words].
func (t MessageType) HasWords() bool { return t != Custom }

// ParseMessageType parses the result of [MessageType.String].
func ParseMessageType(s string) (MessageType, bool) { return messageTypeNames.parse(s) }

// State is the state of a message.
type State uint8

// The states. A message leaves Active once and never returns to it. Their numbers are
// stored: never reuse one.
const (
	Active  State = 1
	Revoked State = 2 // withdrawn for everyone
	Burned  State = 3 // erased: its recipient has read it, asked for it, or left it unread too long
	Expired State = 4 // erased because its time ran out
)

var stateNames = names[State]{Active: "active", Revoked: "revoked", Burned: "burned", Expired: "expired"}

// String returns the state as clients know it.
func (s State) String() string { return stateNames[s] }

// ParseState parses the result of [State.String].
func ParseState(s string) (State, bool) { return stateNames.parse(s) }

// Content is the part of a message that its erasure destroys. It is stored sealed under a
// key of its own.
type Content struct {
	// Sent is the canonical JSON of the request, as [Content.SentAs] compares it. If the
	// pre-send hook rewrote the message, Sent is the rewritten request, and Original is set.
	Sent []byte
	// Original is the fingerprint of the request that the pre-send hook rewrote, "" if it did
	// not.
	Original string
	// Body and Ext are JSON objects within Sent.
	Body     json.RawMessage
	Ext      json.RawMessage
	Mentions []UserID
	// MentionAll is set if all members are mentioned.
	MentionAll bool
}

// Message is a message of a conversation, or the tombstone of an erased one.
type Message struct {
	ID           ID
	Conversation ID
	// Seq numbers the messages of the conversation: from 1 and without gaps, except where an
	// imported message has kept a greater seq.
	Seq          int64
	Sender       UserID
	SenderDevice string
	ClientID     string
	Type         MessageType
	State        State
	ReplyTo      ID
	Receipt      bool
	CreatedAt    time.Time
	// Quiet is set for a message that counts as read: one that was imported or inserted, which is
	// not published, or one that the pre-send hook dropped, which is published only to its sender.
	Quiet bool
	// VisibleTo is the one member who can see the message, "" for all.
	VisibleTo UserID
	// ExpiresAt is when the message expires, zero if it does not.
	ExpiresAt time.Time
	// Burn is nil for a message that was not sent for burning.
	Burn *Burn
	// Content is nil once the message was erased.
	Content *Content
	// Attachments lists the attachments of a message to be stored. It is empty in a message
	// that is read: the body names them.
	Attachments []ID
	// Erased says how the message was erased, nil if it is active.
	Erased *Erasure
}

// Burn is the burn timer of a direct message.
type Burn struct {
	// After is the time from reading to burning.
	After time.Duration
	// UnreadTTL is the time from the message's creation after which it burns even if it is unread.
	UnreadTTL time.Duration
	// At is when the message burns, zero until it is read.
	At time.Time
}

// Erasure describes how a message was erased. A tombstone has it in addition to the ids and times
// of the message.
type Erasure struct {
	State State
	// At is the time from which nobody can read the message.
	At time.Time
	// By is the user who erased it, "" for a timer.
	By UserID
	// Postscript and Extension are left in its place by the user who revoked it.
	Postscript string
	Extension  json.RawMessage
	// Push is the push notification about the revoke. Only webhooks read it again.
	Push Push
}

// Due returns when a message is due to be erased and the state that it then gets; false if it is
// not due at any time. If it both burns and expires, the earlier time counts.
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

// AsOf returns the message as it reads at a time: a message that is due reads as a
// tombstone, whether or not it has been erased yet.
func (m Message) AsOf(now time.Time) Message {
	if at, state, ok := m.Due(); ok && !at.After(now) {
		return m.Tombstone(Erasure{State: state, At: at})
	}
	return m
}

// size estimates the number of bytes that a message takes in a page.
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

// Shredded returns the tombstone of an active message whose key is shredded, with what the code
// reveals about the erasure. Reading the row again returns the rest.
func (m Message) Shredded(code ShredCode) Message {
	state, ok := code.State()
	if !ok {
		state = Expired // it was trimmed or purged
	}
	return m.Tombstone(Erasure{State: state, At: m.CreatedAt})
}

// Tombstone returns the message as an erasure leaves it.
func (m Message) Tombstone(e Erasure) Message {
	m.State, m.Content, m.Attachments, m.Erased = e.State, nil, nil, &e
	return m
}
