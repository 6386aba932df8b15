package im

import (
	"cmp"
	"context"
	"math"
	"slices"
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
	// Among takes in only those whose ids are in a range; nil takes in all.
	Among *IDRange
	Limit int
}

// IDRange is the ids from one to another, both among them.
type IDRange struct{ From, To ID }

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
func listedAt(c Conversation, me Access) time.Time {
	if me.joinedAt.After(c.ListedAt) {
		return me.joinedAt
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
		c, me, err := s.enter(r, actor, ref)
		if err != nil {
			return ConversationView{}, err
		}
		return s.look(r, c, me)
	})
}

// listedAtOnce is how many conversations one read looks at to find a page of the list:
// any of them may be at its top, and who was put into very many groups by others is
// to have a list all the same, whatever the store lets a read take.
const listedAtOnce = 5000

// Conversations returns a page of those that the actor is a member of.
func (s *Service) Conversations(ctx context.Context, actor Actor, f ConversationFilter) (ConversationPage, error) {
	now := s.time()
	page := ConversationPage{AsOf: f.AsOf, Through: f.Through}
	if page.AsOf.IsZero() {
		page.AsOf = now
	}
	among := IDRange{From: math.MinInt64}
	q := ConversationQuery{
		User: actor.User, AsOf: page.AsOf, Now: now, Past: f.Past, Kind: f.Kind, Pinned: f.Pinned,
		ChangedSince: f.ChangedSince, Among: &among, Limit: f.Limit + 1,
	}
	var found []ListedConversation
	for {
		var next ID
		var more bool
		err := s.read(ctx, func(r Reader) (err error) {
			if page.Through == 0 {
				last, err := r.LastMessage()
				if err != nil {
					return err
				}
				page.Through = max(last, 1)
			}
			q.Through, among.To = page.Through, math.MaxInt64
			if next, more, err = maybe(r.NthConversation(actor.User, among.From, s.listed)); err != nil {
				return err
			}
			if more {
				among.To = next - 1
			}
			list, err := r.Conversations(q)
			if err != nil {
				return err
			}
			fresh := len(found) == 0
			found = firstListed(append(found, list...), q.Limit)
			if more {
				return nil
			}
			return s.lookListed(r, actor, found, fresh, f.Limit, &page)
		})
		if err != nil || !more {
			return page, err
		}
		among.From = next
	}
}

// firstListed returns the first of a list that is not in order yet.
func firstListed(list []ListedConversation, limit int) []ListedConversation {
	slices.SortFunc(list, func(a, b ListedConversation) int {
		return cmp.Or(b.ActiveAt.Compare(a.ActiveAt), cmp.Compare(b.ID, a.ID))
	})
	return list[:min(len(list), limit)]
}

// lookListed makes a page of a list that is longer than that if there is another one.
// What is not fresh was found by an earlier read, and may have changed or be gone.
func (s *Service) lookListed(r Reader, actor Actor, list []ListedConversation, fresh bool, limit int, page *ConversationPage) error {
	size := 0
	for i, l := range list {
		if i == limit || size >= enoughContent {
			key := list[i-1].Key()
			page.Next = &key
			break
		}
		c := l.Conversation
		if !fresh {
			var found bool
			var err error
			if c, found, err = maybe(r.Conversation(l.ID)); err != nil {
				return err
			}
			if !found || !c.DeletedAt.IsZero() {
				continue
			}
		}
		me, err := s.access(r, c, actor.User)
		if err != nil {
			return err
		}
		if !me.Can(PermissionView) {
			continue
		}
		v, err := s.look(r, c, me)
		if err != nil {
			return err
		}
		if v.LastMessage != nil {
			size += v.LastMessage.size()
		}
		page.Items = append(page.Items, v)
	}
	return nil
}

// seen loads a conversation as the actor sees it after a change.
func (s *Service) seen(r Reader, actor Actor, id ID) (ConversationView, error) {
	c, me, err := s.enter(r, actor, ConversationRef{ID: id})
	if err != nil {
		return ConversationView{}, err
	}
	return s.look(r, c, me)
}

// look completes a conversation to what its member m sees of it.
func (s *Service) look(r Reader, c Conversation, me Access) (ConversationView, error) {
	v := ConversationView{Conversation: c, Me: me, Hidden: me.mark.hides(c)}
	if c.Kind == Channel && len(me.ancestors) > 0 {
		v.MemberCount = me.ancestors[0].MemberCount
	}
	if since := me.joinedParentAt; c.CreatedAt.Before(since) {
		v.Later, v.Messages = true, 0
		if c.EditedAt.Before(since) {
			v.Name = ""
		}
		if c.ActiveAt.Before(since) {
			v.ActiveAt = time.Time{}
		}
	}
	var err error
	if v.Unread, err = s.unread(r, c, me); err != nil {
		return v, err
	}
	v.LastMessage, err = s.newest(r, c, me)
	return v, err
}

// maxLooks is how many pages of history, each of a bounded number of messages, are
// looked at for a preview: beyond it, for who has hidden thousands of messages one
// by one or was left nothing but old imports, there is none.
const maxLooks = 4

// newest returns the newest message that a member may read, nil without one. Messages
// are in the order in which they were stored, but that those that were imported or
// inserted stand where their CreatedAt puts them.
func (s *Service) newest(r Reader, c Conversation, me Access) (*Message, error) {
	q, err := s.visible(r, c, me)
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
