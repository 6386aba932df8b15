package im

import "time"

// SearchQuery asks for a page of messages that contain words, by descending id.
type SearchQuery struct {
	Words string // as the user typed them
	// Conversations are the conversations to search, nil for all that Sees admits.
	Conversations []ID
	// Reader is the user who searches. Messages that they have hidden by their ids are no hits.
	Reader UserID
	// Sees returns those of a list of conversations that the user may see. It is called with
	// conversations that have possible hits, before those are read: once for each conversation, and
	// for a bounded number per page. Nil admits all of Conversations.
	Sees func(conversations []ID) (map[ID]bool, error)
	// Type, Sender, From (included) and To (excluded) filter; their zero values
	// do not.
	Type     MessageType
	Sender   UserID
	From, To time.Time
	// Past continues with ids less than this; 0 starts at the beginning.
	Past  ID
	Limit int
	// Enough is called with each hit, and ends the page after that hit by returning true; nil never
	// does. Wanted is the probable number of hits until then; 0 means Limit.
	Enough func(SearchHit) (bool, error)
	Wanted int
}

// Admits reports whether a message can be a hit by its state, type and time. The store itself
// compares the sender, the conversation and the words.
func (q SearchQuery) Admits(m Message) bool {
	return m.State == Active && (q.Type == 0 || m.Type == q.Type) &&
		!m.CreatedAt.Before(q.From) && (q.To.IsZero() || m.CreatedAt.Before(q.To))
}

// SearchHit is a message that matches a search.
type SearchHit struct {
	Message Message
	Snippet []SnippetPart
}

// SnippetPart is a piece of the text around a match.
type SnippetPart struct {
	Text  string
	Match bool
}

// SearchState is the state of the search index of a store. The index is filled after commits;
// no sender waits for it.
type SearchState struct {
	// Waiting is the number of messages that are indexed in memory and not in the file yet.
	Waiting int
	// Removals is the number of erased messages that are still in the file.
	Removals int
	// Complete is false while the index is compared with the messages after a crash, or
	// rebuilt. Searches then examine older messages one by one.
	Complete bool
	// Failing is set if the last write of the file failed; it is retried. Failures counts
	// the failures.
	Failing  bool
	Failures int64
}

// SearchPage is a page of hits. The store examines a bounded number of candidates for it, so a page
// may be short or empty and still have a Next.
type SearchPage struct {
	Hits []SearchHit
	Next ID // the Past of the next page, 0 at the end
}

// Words returns the text of the message that searches cover: the text of a text message, the
// address of a location, the name of an attachment, "" for others and for a tombstone.
func (m Message) Words() string {
	if m.Content == nil {
		return ""
	}
	var member string
	switch m.Type {
	case Text:
		member = "text"
	case Location:
		member = "address"
	case Image, Audio, Video, File:
		member = "name"
	default:
		return ""
	}
	return storedText(m.Content.Body, member)
}
