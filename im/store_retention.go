package im

import "time"

// ClientKey identifies a message by the client_id that its sender gave it.
type ClientKey struct {
	Sender   UserID
	ClientID string
}

// SentKey identifies a message by who sent it and when.
type SentKey struct {
	Sender UserID
	At     time.Time
}

// GoneMessage is a trimmed or purged message.
type GoneMessage struct {
	SentKey
	Conversation ID
}

// RetentionReader finds what retention trims, and the deleted conversations to purge. It also finds
// the keys of messages that were trimmed or purged, which are remembered until
// [RetentionWriter.Forget] forgets them.
type RetentionReader interface {
	// Retentions returns the distinct settings of retention of conversations that have
	// messages; nil is that of conversations without one of their own.
	Retentions() ([]*time.Duration, error)
	// Oldest returns up to limit conversations with a setting whose OldestAt is before a
	// time, in the order of OldestAt and id, beginning after past.
	Oldest(retention *time.Duration, before time.Time, past *OldestKey, limit int) ([]Conversation, error)
	// OldestMessage returns the earliest CreatedAt of all messages; false if there is none.
	OldestMessage() (time.Time, bool, error)
	// CountBefore counts the messages of the conversation that were created before a time.
	CountBefore(conversation ID, before time.Time) (int64, error)
	// Trimming returns up to limit conversations whose trimming has begun and is not done.
	Trimming(limit int) ([]Conversation, error)
	// Unpurged returns up to limit deleted conversations that are not purged yet, in the
	// order of their deletion.
	Unpurged(limit int) ([]Conversation, error)

	// Gone returns the ids of a list that belonged to trimmed or purged messages.
	Gone(ids []ID) ([]ID, error)
	// GoneAs returns the keys of a list that belonged to trimmed or purged messages.
	GoneAs(keys []ClientKey) ([]ClientKey, error)
	// GoneAt returns the trimmed or purged messages with one of the keys.
	GoneAt(keys []SentKey) ([]GoneMessage, error)
	// GoneDirects returns the ids of the deleted direct conversations of two users, until
	// they are forgotten.
	GoneDirects(peers [2]UserID) ([]ID, error)
}

// RetentionWriter trims, purges and forgets, in steps small enough for a transaction.
type RetentionWriter interface {
	// Trim deletes up to limit messages of the conversation that were created before a
	// time, the oldest first, with their events, receipts and hides, and shreds their keys.
	// Until that is done, before is the conversation's TrimBefore. The keys of the messages are
	// remembered, as of at. It returns ErrNotFound if there is no such conversation.
	Trim(conversation ID, before time.Time, limit int, at time.Time) (Trimmed, error)
	// Purge deletes up to limit messages of a deleted conversation and what is left of it,
	// and shreds its keys. It returns true if nothing is left. The keys of the messages are
	// remembered, as of at. It returns ErrNotFound if the conversation is not a deleted one.
	Purge(id ID, limit int, at time.Time) (done bool, err error)
	// Forget forgets up to limit messages, direct conversations and creations that are remembered
	// from before a time, and returns their number. A creation is remembered from the deletion of
	// its conversation.
	Forget(before time.Time, limit int) (int, error)
}
