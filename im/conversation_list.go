package im

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// ConversationKey is the position of a conversation in a user's list: by last activity, then
// by id.
type ConversationKey struct {
	ActiveAt time.Time
	ID       ID
}

// ConversationQuery asks for a page of the conversations that a user is a member of now, by
// last activity, newest first, then by descending id.
type ConversationQuery struct {
	User UserID
	// AsOf is the time of the list. Conversations that were created or joined later are left
	// out.
	AsOf time.Time
	// Through is the id of the last message that counts as activity, 0 for none. A
	// conversation that was active later keeps its position, so that pages are consistent.
	Through ID
	// Now is the current time. Conversations created after it, when the clock was ahead,
	// are included; zero leaves them out.
	Now time.Time
	// Past continues after this position.
	Past *ConversationKey
	// Kind and Pinned filter; their zero values do not.
	Kind   Kind
	Pinned *bool
	// ChangedSince leaves out conversations in which nothing has changed for the user since then,
	// and includes those that they have hidden; zero does neither.
	ChangedSince time.Time
	// Hidden includes conversations that they have hidden.
	Hidden bool
	// Among leaves out conversations whose ids are not in the range; nil leaves out none.
	Among *IDRange
	Limit int
}

// IDRange is a range of ids. Both ends are included.
type IDRange struct{ From, To ID }

// ListedConversation is a conversation in a list, and when it was last active as of the
// list.
type ListedConversation struct {
	Conversation
	ActiveAt time.Time
}

// Key returns its position in the list.
func (l ListedConversation) Key() ConversationKey {
	return ConversationKey{ActiveAt: l.ActiveAt, ID: l.ID}
}

// listedAt returns when a conversation was last active for a member, at the earliest when they
// joined.
func listedAt(c Conversation, me Access) time.Time {
	if me.joinedAt.After(c.ListedAt) {
		return me.joinedAt
	}
	return c.ListedAt
}

// ConversationFilter is a client's request for a list of conversations.
type ConversationFilter struct {
	Kind         Kind
	Pinned       *bool
	ChangedSince time.Time
	// AsOf, Through and Past continue a list: they are AsOf, Through and Next of the
	// previous page.
	AsOf    time.Time
	Through ID
	Past    *ConversationKey
	Limit   int
}

// ConversationPage is a page of a user's conversations.
type ConversationPage struct {
	Items []ConversationView
	// AsOf, Through and Next are for the next page; Next is nil at the end.
	AsOf    time.Time
	Through ID
	Next    *ConversationKey
}

// Conversation returns a conversation. It refuses one that the actor cannot see.
func (s *Service) Conversation(ctx context.Context, actor Actor, ref ConversationRef) (ConversationView, error) {
	return view(ctx, s, func(r Reader) (ConversationView, error) {
		c, me, err := s.enter(r, actor, ref)
		if err != nil {
			return ConversationView{}, err
		}
		return s.conversationView(r, c, me)
	})
}

// listedAtOnce is the number of conversations that one read examines for a page of the list. Every
// conversation must be examined, because any of them may be the first, and a user whom others have
// added to very many groups must get a list within the store's time limit for reads.
const listedAtOnce = 5000

// Conversations returns a page of the direct conversations, groups and rooms that the actor
// is a member of, in the order of last activity, newest first. Any error is from the store.
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
			return s.listedViews(r, actor, found, fresh, f.Limit, &page)
		})
		if err != nil || !more {
			return page, err
		}
		among.From = next
	}
}

// firstListed sorts a list and returns up to limit of it.
func firstListed(list []ListedConversation, limit int) []ListedConversation {
	slices.SortFunc(list, func(a, b ListedConversation) int {
		return cmp.Or(b.ActiveAt.Compare(a.ActiveAt), cmp.Compare(b.ID, a.ID))
	})
	return list[:min(len(list), limit)]
}

// listedViews adds views of the conversations to a page. There is another page if the list is
// longer than limit, or if the views end early. If fresh is false, a part of the list is from an
// earlier read, and its conversations may have changed or been deleted.
func (s *Service) listedViews(r Reader, actor Actor, list []ListedConversation, fresh bool, limit int, page *ConversationPage) error {
	keys := make(map[ID]ConversationKey, len(list))
	var ids []ID
	var conversations []Conversation
	for i, l := range list {
		if i == limit {
			key := list[i-1].Key()
			page.Next = &key
			break
		}
		keys[l.ID], ids, conversations = l.Key(), append(ids, l.ID), append(conversations, l.Conversation)
	}
	var visible []entered
	var err error
	if fresh {
		visible, err = s.accessToEach(r, actor.User, conversations)
	} else {
		visible, err = s.enterEach(r, actor.User, ids)
	}
	if err != nil {
		return err
	}
	visible = slices.DeleteFunc(visible, func(e entered) bool { return !e.me.Can(PermissionView) })
	if page.Items, err = s.conversationViews(r, visible); err != nil {
		return err
	}
	if n := len(page.Items); n < len(visible) {
		key := keys[page.Items[n-1].ID]
		page.Next = &key
	}
	return nil
}

// currentView returns the actor's view of a conversation, after a change of it.
func (s *Service) currentView(r Reader, actor Actor, id ID) (ConversationView, error) {
	c, me, err := s.enter(r, actor, ConversationRef{ID: id})
	if err != nil {
		return ConversationView{}, err
	}
	return s.conversationView(r, c, me)
}

// conversationView returns a user's view of a conversation.
func (s *Service) conversationView(r Reader, c Conversation, me Access) (ConversationView, error) {
	views, err := s.conversationViews(r, []entered{{Conversation: c, me: me}})
	if err != nil {
		return ConversationView{}, err
	}
	return views[0], nil
}

// conversationViews returns a user's views of conversations. It ends early, but not before the
// first, when their last messages have [EnoughContent].
func (s *Service) conversationViews(r Reader, list []entered) ([]ConversationView, error) {
	newest, err := s.newestOfEach(r, list)
	if err != nil {
		return nil, err
	}
	unread, err := s.unreadOfEach(r, list[:len(newest)])
	if err != nil {
		return nil, err
	}
	views := make([]ConversationView, len(newest))
	for i, e := range list[:len(newest)] {
		views[i] = baseView(e.Conversation, e.me)
		views[i].Unread, views[i].LastMessage = unread[i], newest[i]
	}
	return views, nil
}

// baseView returns the parts of a view that are known without the messages.
func baseView(c Conversation, me Access) ConversationView {
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
	return v
}

// maxLooks is the maximum number of pages of history that are searched for the newest message that
// a user may read. A user who has hidden thousands of messages one by one may get none.
const maxLooks = 4

// newestOfEach returns the newest message that a user may read in each conversation, nil if
// there is none. Messages are in the order of their seqs; if some were imported or inserted,
// in the order of CreatedAt. It ends early, but not before the first, after [EnoughContent].
func (s *Service) newestOfEach(r Reader, list []entered) ([]*Message, error) {
	newest := make([]*Message, len(list))
	var queries []HistoryQuery
	var places []int // in list
	for i, e := range list {
		q, err := s.visible(r, e.Conversation, e.me)
		if err != nil {
			return nil, err
		}
		if len(q.Ranges) == 0 {
			continue
		}
		q.Limit, q.Timed = 1, e.Counted != e.LastSeq // if the two are equal, none was imported or inserted
		queries, places = append(queries, q), append(places, i)
	}
	if len(queries) == 0 {
		return newest, nil
	}
	pages, err := r.Newest(queries)
	if err != nil {
		return nil, err
	}
	if len(pages) < len(queries) {
		newest = newest[:places[len(pages)]]
	}
	now := s.time()
	for i, page := range pages {
		for range maxLooks - 1 {
			if len(page.Messages) > 0 || page.Next == nil {
				break
			}
			queries[i].Past = page.Next
			if page, err = r.Messages(queries[i]); err != nil {
				return nil, err
			}
		}
		if len(page.Messages) > 0 {
			m := page.Messages[0].AsOf(now)
			newest[places[i]] = &m
		}
	}
	return newest, nil
}
