package im

import (
	"context"
	"time"
)

// ConversationKey is the place of a conversation in a user's list: by last
// activity, then by id.
type ConversationKey struct {
	ActiveAt time.Time
	ID       ID
}

// ConversationQuery asks a [Reader] for conversations that a user is a member
// of now, by last activity, newest first, then by id, highest first.
type ConversationQuery struct {
	User UserID
	// AsOf is the time at which the list is taken: what came to be later, or was
	// joined later, is left out.
	AsOf time.Time
	// Through is the last message that counts as activity: what was active later
	// stands where it stood then, so that pages hold together. 0 counts all.
	Through ID
	// Now is when the page is asked for. What came to be after that did so while the
	// clock was ahead, and is taken in; zero takes in none of it.
	Now time.Time
	// Past continues after this one.
	Past *ConversationKey
	// Kind and Pinned filter; their zero values do not.
	Kind   Kind
	Pinned *bool
	// ChangedSince leaves out those of which nothing changed for the user since,
	// and takes in those that they have hidden; zero does neither.
	ChangedSince time.Time
	// Hidden takes in those that they have hidden.
	Hidden bool
	Limit  int
}

// ListedConversation is a conversation and when it was last active as of the
// list.
type ListedConversation struct {
	Conversation
	ActiveAt time.Time
}

// Key returns its place in the list.
func (l ListedConversation) Key() ConversationKey {
	return ConversationKey{ActiveAt: l.ActiveAt, ID: l.ID}
}

// listedAt is when a conversation was last active for a member: to them it came to be
// when they joined.
func listedAt(c Conversation, me Membership) time.Time {
	if me.JoinedAt.After(c.ListedAt) {
		return me.JoinedAt
	}
	return c.ListedAt
}

// ConversationFilter is what a client asks of their conversations.
type ConversationFilter struct {
	Kind         Kind
	Pinned       *bool
	ChangedSince time.Time
	// AsOf, Through and Past continue a list: those of the page before.
	AsOf    time.Time
	Through ID
	Past    *ConversationKey
	Limit   int
}

// ConversationPage is a stretch of a user's conversations.
type ConversationPage struct {
	Items []ConversationView
	// AsOf, Through and Next are for the page that follows; Next is nil at the end.
	AsOf    time.Time
	Through ID
	Next    *ConversationKey
}

// Conversation returns one that the actor is a member of.
func (s *Service) Conversation(ctx context.Context, actor Actor, ref ConversationRef) (ConversationView, error) {
	return view(ctx, s, func(r Reader) (ConversationView, error) {
		c, m, err := s.enter(r, actor, ref)
		if err != nil {
			return ConversationView{}, err
		}
		return s.look(r, c, m)
	})
}

// Conversations returns a page of those that the actor is a member of.
func (s *Service) Conversations(ctx context.Context, actor Actor, f ConversationFilter) (ConversationPage, error) {
	now := s.time()
	page := ConversationPage{AsOf: f.AsOf, Through: f.Through}
	if page.AsOf.IsZero() {
		page.AsOf = now
	}
	q := ConversationQuery{
		User: actor.User, AsOf: page.AsOf, Now: now, Past: f.Past, Kind: f.Kind, Pinned: f.Pinned,
		ChangedSince: f.ChangedSince, Limit: f.Limit + 1,
	}
	return view(ctx, s, func(r Reader) (ConversationPage, error) {
		out, q := page, q
		if out.Through == 0 {
			last, err := r.LastMessage()
			if err != nil {
				return page, err
			}
			out.Through = max(last, 1)
		}
		q.Through = out.Through
		list, err := r.Conversations(q)
		if err != nil {
			return page, err
		}
		size := 0
		for i, c := range list {
			if i == f.Limit || size >= enoughContent {
				key := list[i-1].Key()
				out.Next = &key
				break
			}
			m, err := r.Membership(c.ID, actor.User)
			if err != nil {
				return page, err
			}
			v, err := s.look(r, c.Conversation, m)
			if err != nil {
				return page, err
			}
			if v.LastMessage != nil {
				size += v.LastMessage.size()
			}
			out.Items = append(out.Items, v)
		}
		return out, nil
	})
}

// seen loads a conversation as the actor sees it after a change.
func (s *Service) seen(r Reader, actor Actor, id ID) (ConversationView, error) {
	c, m, err := s.enter(r, actor, ConversationRef{ID: id})
	if err != nil {
		return ConversationView{}, err
	}
	return s.look(r, c, m)
}

// look completes a conversation to what its member m sees of it.
func (s *Service) look(r Reader, c Conversation, m Membership) (ConversationView, error) {
	v := ConversationView{Conversation: c, Me: m, Hidden: m.Mark.hides(c)}
	if c.Kind == Channel && len(m.Above) > 0 {
		v.MemberCount = m.Above[0].MemberCount
	}
	if since := m.JoinedAbove; c.CreatedAt.Before(since) {
		v.Later, v.Messages = true, 0
		if c.EditedAt.Before(since) {
			v.Name = ""
		}
		if c.ActiveAt.Before(since) {
			v.ActiveAt = time.Time{}
		}
	}
	var err error
	if v.Unread, err = s.unread(r, c, m); err != nil {
		return v, err
	}
	v.LastMessage, err = s.newest(r, c, m)
	return v, err
}

// maxLooks is how many pages of history, each of a bounded number of messages, are
// looked at for a preview: beyond it, for who has hidden thousands of messages one
// by one or was left nothing but old imports, there is none.
const maxLooks = 4

// newest returns the newest message that a member may read, nil without one. Messages
// are in the order in which they were stored, but that those that were imported or
// inserted stand where their CreatedAt puts them.
func (s *Service) newest(r Reader, c Conversation, m Membership) (*Message, error) {
	q, err := s.sight(r, c, m)
	if err != nil {
		return nil, err
	}
	q.Limit, q.Timed = 1, c.Counted != c.LastSeq // else none was
	for range maxLooks {
		if len(q.Ranges) == 0 {
			return nil, nil
		}
		page, err := s.history(r, q)
		if err != nil {
			return nil, err
		}
		if len(page.Messages) > 0 {
			return &page.Messages[0], nil
		}
		if page.Next == nil {
			return nil, nil
		}
		q.Past = page.Next
	}
	return nil, nil
}
