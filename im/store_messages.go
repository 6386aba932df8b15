package im

import "time"

// MaxLastSent is the number of a conversation's newest messages that [MessageReader.LastSent]
// searches.
const MaxLastSent = 10_000

// MessageReader reads messages and searches them, and reads what users have hidden.
type MessageReader interface {
	HideReader

	// Message returns a message with its content, or ErrNotFound.
	Message(id ID) (Message, error)
	// MessageByClientID returns the message that the sender sent under a client_id, or
	// ErrNotFound.
	MessageByClientID(sender UserID, clientID string) (Message, error)
	// MessageAt returns the active message of a sender in a conversation that was created
	// at a time and whose content is sent, which is canonical JSON, or ErrNotFound.
	MessageAt(conversation ID, sender UserID, at time.Time, sent []byte) (Message, error)
	// Messages returns a page of a conversation's history.
	Messages(q HistoryQuery) (HistoryPage, error)
	// Newest returns, for each query, the page that Messages returns with a limit of one, in few
	// statements. All queries have the same Reader, neither Past nor filters, and are not
	// ascending. It ends early after [EnoughContent], but returns one page at least. A page
	// with a message has no Next.
	Newest(queries []HistoryQuery) ([]HistoryPage, error)
	// LastMessage returns the greatest id of a message, 0 if there is none.
	LastMessage() (ID, error)
	// LastSent returns when the user last sent a message to the conversation that was not
	// quiet; false if there is no such message among the newest [MaxLastSent].
	LastSent(conversation ID, user UserID) (time.Time, bool, error)
	// SeqSince returns the seq of the first message of the conversation that was stored at
	// a time or later, or else the next seq. Messages are stored in the order of their ids, which
	// may differ from that of their CreatedAt, and none is stored before its CreatedAt. It returns
	// ErrNotFound if there is no such conversation.
	SeqSince(conversation ID, at time.Time) (int64, error)
	// Taken returns the ids of a list that belong to messages.
	Taken(ids []ID) ([]ID, error)
	// SentAs returns the keys of a list that belong to messages.
	SentAs(keys []ClientKey) ([]ClientKey, error)
	// CountMessages returns the number of messages, tombstones included.
	CountMessages() (int64, error)

	// Search returns a page of the messages that contain words.
	Search(q SearchQuery) (SearchPage, error)
	// SearchedBy returns up to limit ids of the conversations that a search of the user
	// covers, in any order: those that they are a member of, the channels of their spaces,
	// and the threads in any of these. The user may not have access to all of them.
	SearchedBy(user UserID, limit int) ([]ID, error)
}

// MessageWriter stores messages, and what users hide.
type MessageWriter interface {
	HideWriter

	// InsertMessage stores a message and returns its seq: the next one of the conversation,
	// or m.Seq if that is greater. The conversation's counts change as [Counts.With] describes. The
	// id must be greater than those of the conversation's other messages. It returns ErrNotFound if
	// there is no such conversation.
	InsertMessage(m Message) (seq int64, err error)
	// Send stores a message as InsertMessage does and appends an event about it, whose MessageID,
	// Seq and Message it sets. It returns the errors of InsertMessage.
	Send(m Message, e Event) (seq int64, at Position, err error)
}
