package im

import (
	"context"
	"slices"
	"time"
)

// SearchFilter is a client's search.
type SearchFilter struct {
	// In is the conversation to search in, nil for all of the actor's.
	In       *ConversationRef
	Words    string // as the user typed them
	Type     MessageType
	Sender   UserID
	From, To time.Time
	// Past continues after this message.
	Past  ID
	Limit int
}

const (
	// maxSearches is the maximum number of queries of the store for one page. Each query examines a
	// bounded number of messages, so the page is short if the actor may read few of the hits.
	maxSearches = 4
	// searchedAtMost is the maximum number of conversations that a query names. For an actor with
	// more, the query covers all messages, and access is computed for the conversations with hits.
	// So a user whom others have added to very many spaces can still search.
	searchedAtMost = 4096
	// conversationsAsked is the number of conversations whose access is computed before a page
	// ends.
	conversationsAsked = 400
)

// leastHits is the minimum number of hits that may end a query of the store. If it were the number
// requested, a short page would reveal that there are hits that the actor may not see.
const leastHits = 100

// Search returns a page of the messages that the actor can read and that contain f.Words,
// newest first. It refuses a conversation that the actor cannot see.
func (s *Service) Search(ctx context.Context, actor Actor, f SearchFilter) (SearchPage, error) {
	return view(ctx, s, func(r Reader) (SearchPage, error) {
		known := s.newAccessCache(r, actor.User)
		page, size := SearchPage{}, 0
		q := SearchQuery{
			Words: f.Words, Type: f.Type, Sender: f.Sender, From: f.From, To: f.To, Past: f.Past,
			Limit: max(f.Limit+1, leastHits), Wanted: f.Limit + 1,
			Reader: actor.User, Sees: known.seesEach,
			// One more hit than the page takes shows that there is another page.
			Enough: func(hit SearchHit) (bool, error) {
				readable, err := s.readsHit(known, hit)
				if readable && err == nil {
					page.Hits = append(page.Hits, hit)
					size += hit.Message.size()
				}
				return len(page.Hits) > f.Limit || size >= EnoughContent, err
			},
		}
		if some, err := s.searched(r, actor, f.In, &q); err != nil || !some {
			return SearchPage{}, err
		}
		for range maxSearches {
			found, err := r.Search(q)
			if err != nil {
				return SearchPage{}, err
			}
			page.Next = found.Next
			if len(page.Hits) > f.Limit {
				page.Hits = page.Hits[:f.Limit]
				page.Next = page.Hits[f.Limit-1].Message.ID
				break
			}
			if page.Next == 0 || size >= EnoughContent || len(known.known) >= conversationsAsked {
				break
			}
			q.Past = page.Next
		}
		return page, nil
	})
}

// searched sets the conversations of a query, and reports whether there are any. It ignores a
// direct conversation that does not exist yet.
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

// seesEach returns those of a list of conversations that the user may read. Hits in others must not
// even be counted: the number of pages would reveal them.
func (k accessCache) seesEach(ids []ID) (map[ID]bool, error) {
	unknown := slices.DeleteFunc(slices.Clone(ids), func(id ID) bool { return k.known[id] != nil })
	if err := k.load(unknown); err != nil {
		return nil, err
	}
	sees := make(map[ID]bool, len(ids))
	for _, id := range ids {
		_, me, err := k.access(id)
		if err != nil {
			return nil, err
		}
		sees[id] = me.Can(PermissionView)
	}
	return sees, nil
}

// readsHit reports whether the user of the cache may read a hit now. The store leaves out what they
// have hidden by its id.
func (s *Service) readsHit(known accessCache, hit SearchHit) (bool, error) {
	if hit.Message.AsOf(s.time()).State != Active {
		return false, nil
	}
	c, me, err := known.access(hit.Message.Conversation)
	return err == nil && me.Sees(c, hit.Message.Seq) && s.within(c, me, hit.Message), err
}
