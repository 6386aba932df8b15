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

// maxSearches is how many times one page asks the store, which looks at a
// bounded number of messages each time: where the actor may see little of what
// is found, the page is short.
const maxSearches = 4

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
		var err error
		if q.Conversations, err = s.searched(r, actor, f.In); err != nil || len(q.Conversations) == 0 {
			return SearchPage{}, err
		}
		page, size := SearchPage{}, 0
		known := make(map[ID]*standing)
		for range maxSearches {
			found, err := r.Search(q)
			if err != nil {
				return SearchPage{}, err
			}
			page.Next = found.Next
			for i, hit := range found.Hits {
				readable, err := s.readsHit(r, actor, hit, known)
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
			if page.Next == 0 {
				break
			}
			q.Past = page.Next
		}
		return page, nil
	})
}

// searched returns the conversations to search in, none that the actor cannot see:
// how many pages there are would tell what is said there. A direct conversation that
// nobody has written to is none.
func (s *Service) searched(r Reader, actor Actor, in *ConversationRef) ([]ID, error) {
	if in == nil {
		return s.searchedByAll(r, actor)
	}
	c, _, err := s.enter(r, actor, *in)
	if e, ok := AsError(err); ok && e.Kind == NotFound && in.Peer != "" {
		return nil, nil
	}
	return []ID{c.ID}, err
}

func (s *Service) searchedByAll(r Reader, actor Actor) ([]ID, error) {
	list, err := r.SearchedBy(actor.User)
	if err != nil {
		return nil, err
	}
	sees := map[ID]bool{0: true} // by channel
	ids := make([]ID, 0, len(list))
	for _, one := range list {
		if _, known := sees[one.Channel]; !known {
			c, err := r.Conversation(one.Channel)
			if err != nil {
				return nil, err
			}
			me, err := s.stand(r, c, actor.User)
			if err != nil {
				return nil, err
			}
			sees[one.Channel] = me.May.Has(PermissionView)
		}
		if sees[one.Channel] {
			ids = append(ids, one.Conversation)
		}
	}
	return ids, nil
}

// readsHit reports whether the actor may read what was found, now.
func (s *Service) readsHit(r Reader, actor Actor, hit SearchHit, known map[ID]*standing) (bool, error) {
	if hit.Message.AsOf(s.time()).State != Active {
		return false, nil
	}
	return s.seesKnown(r, actor, hit.Message, known)
}
