package im

import (
	"context"
	"time"
)

// SearchFilter is what a client searches for.
type SearchFilter struct {
	// In is the conversation to search in, nil for all of the actor's.
	In       *ConversationRef
	Words    string // as the user typed them
	Type     MessageType
	Sender   UserID
	From, To time.Time
	// Past continues after this one.
	Past  ID
	Limit int
}

const (
	// maxSearches is how many times one page asks the store, which looks at a
	// bounded number of messages each time: where the actor may see little of what
	// is found, the page is short.
	maxSearches = 4
	// searchedAtMost is how many conversations a search is told to look in. Where the
	// actor may see more of them, all messages are looked at, and what they may see is
	// found out where something was found: nobody who adds somebody to many spaces
	// keeps them from searching.
	searchedAtMost = 4096
	// conversationsAsked is after how many of those a page ends.
	conversationsAsked = 400
)

// leastHits is how many hits the store is asked for at least, however few are wanted:
// where a page of few ends early, it would tell of hits that the actor may not see.
const leastHits = 100

// Search returns a page of the messages that the actor can read and that have
// words in them, newest first.
func (s *Service) Search(ctx context.Context, actor Actor, f SearchFilter) (SearchPage, error) {
	return view(ctx, s, func(r Reader) (SearchPage, error) {
		q := SearchQuery{
			Words: f.Words, Type: f.Type, Sender: f.Sender, From: f.From, To: f.To, Past: f.Past,
			Limit: max(f.Limit, leastHits),
		}
		known := s.newAccessCache(r, actor.User)
		q.Sees = func(id ID) (bool, error) { return seesConversation(known, id) }
		if some, err := s.searched(r, actor, f.In, &q); err != nil || !some {
			return SearchPage{}, err
		}
		page, size := SearchPage{}, 0
		for range maxSearches {
			found, err := r.Search(q)
			if err != nil {
				return SearchPage{}, err
			}
			page.Next = found.Next
			for i, hit := range found.Hits {
				readable, err := s.readsHit(known, hit)
				if err != nil {
					return SearchPage{}, err
				}
				if !readable {
					continue
				}
				page.Hits = append(page.Hits, hit)
				size += hit.Message.size()
				if len(page.Hits) == f.Limit || size >= enoughContent {
					if i+1 < len(found.Hits) {
						page.Next = hit.Message.ID
					}
					return page, nil
				}
			}
			if page.Next == 0 || len(known.known) >= conversationsAsked {
				break
			}
			q.Past = page.Next
		}
		return page, nil
	})
}

// searched says in a query where to search, and reports whether there is anything. A
// direct conversation that nobody has written to is none.
func (s *Service) searched(r Reader, actor Actor, in *ConversationRef, q *SearchQuery) (some bool, err error) {
	if in == nil {
		q.Conversations, err = r.SearchedBy(actor.User, searchedAtMost+1)
		some = len(q.Conversations) > 0
		if len(q.Conversations) > searchedAtMost {
			q.Conversations = nil
		}
		return some, err
	}
	c, _, err := s.enter(r, actor, *in)
	if e, ok := AsError(err); ok && e.Kind == NotFound && in.Peer != "" {
		return false, nil
	}
	q.Conversations = []ID{c.ID}
	return err == nil, err
}

// seesConversation reports whether an actor may read a conversation. What is said in
// others is not even counted: how many pages there are would tell of it.
func seesConversation(known accessCache, id ID) (bool, error) {
	_, me, err := known.access(id)
	return me.Can(PermissionView), err
}

// readsHit reports whether the actor may read what was found, now.
func (s *Service) readsHit(known accessCache, hit SearchHit) (bool, error) {
	if hit.Message.AsOf(s.time()).State != Active {
		return false, nil
	}
	return known.sees(hit.Message)
}
