package im

import (
	"encoding/json"
	"time"
)

// SearchQuery asks a [Reader] for messages that have words in them, newest
// first, by id.
type SearchQuery struct {
	Words string // as the user typed them
	// Conversations are those to look in. None are all that Sees lets see.
	Conversations []ID
	// Sees reports whether the user may see a conversation. It is asked once for each
	// of those in which something may have been found, before that is read, of a
	// bounded number in one page; nil lets see all of Conversations.
	Sees func(conversation ID) (bool, error)
	// Type, Sender, From (included) and To (excluded) filter; their zero values
	// do not.
	Type     MessageType
	Sender   UserID
	From, To time.Time
	// Past continues with ids below this one; 0 begins.
	Past  ID
	Limit int
}

// Admits reports whether a message can be a hit by its state, type and time. The sender,
// the conversation and the words are the store's to compare.
func (q SearchQuery) Admits(m Message) bool {
	return m.State == Active && (q.Type == 0 || m.Type == q.Type) &&
		!m.CreatedAt.Before(q.From) && (q.To.IsZero() || m.CreatedAt.Before(q.To))
}

// SearchHit is a message that was found.
type SearchHit struct {
	Message Message
	Snippet []SnippetPart
}

// SnippetPart is a piece of the text around a match.
type SnippetPart struct {
	Text  string
	Match bool
}

// SearchState is how the search index of a store is. It is made of the messages, and
// nobody who sends waits for it.
type SearchState struct {
	// Waiting is how many messages are in memory, and not in its file yet.
	Waiting int
	// Removals is how many erased messages are to be taken out of its file.
	Removals int
	// Complete is false while the index is compared with the messages after a crash, or
	// made anew: older messages are looked at one by one then.
	Complete bool
	// Failing says that the file could not be written when it was last tried, which is
	// done again and again; Failures counts that.
	Failing  bool
	Failures int64
}

// SearchPage is a stretch of what was found. The store looks at a bounded
// number of candidates: a page may be short, even empty, and yet have a Next.
type SearchPage struct {
	Hits []SearchHit
	Next ID // the Past of the page that follows, 0 at the end
}

// Words returns the text of the message that is searched: that of a text, the
// address of a location, "" of any other and once it was erased.
func (m Message) Words() string {
	if m.Content == nil {
		return ""
	}
	var body struct {
		Text    string `json:"text"`
		Address string `json:"address"`
	}
	if json.Unmarshal(m.Content.Body, &body) != nil {
		return ""
	}
	switch m.Type {
	case Text:
		return body.Text
	case Location:
		return body.Address
	default:
		return ""
	}
}
