package im

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// MaxUnread is the maximum count of unread messages in one conversation.
const MaxUnread = 1000

// UnreadCount is the number of messages of a conversation that a user has not read.
type UnreadCount struct {
	// Messages is exact up to MaxUnread; More is set if there are more.
	Messages int
	More     bool
	// Mentions is the number of those that mention the user, up to MaxUnread.
	Mentions int
}

// Full reports whether counting further cannot change the result of [UnreadCount.Capped].
func (u UnreadCount) Full() bool { return u.Messages > MaxUnread && u.Mentions >= MaxUnread }

// Capped returns the count, limited to [MaxUnread].
func (u UnreadCount) Capped() UnreadCount {
	if u.Messages > MaxUnread {
		u.Messages, u.More = MaxUnread, true
	}
	u.Mentions = min(u.Mentions, MaxUnread)
	return u
}

// UnreadQuery asks for the number of messages in ranges that a user has not read: those that
// are not quiet, not the user's own, not erased or due by Now, not read, and not hidden by
// their ids.
type UnreadQuery struct {
	Conversation ID
	User         UserID
	Ranges       seqs.Set
	Now          time.Time
}

// UnreadOf is a user's unread count in one conversation.
type UnreadOf struct {
	Conversation ID
	UnreadCount
	Muted bool
}

// Unread is a user's unread counts.
type Unread struct {
	// Total and Mentions are sums; More is set if Total is a lower bound.
	Total    int64
	More     bool
	Mentions int64
	// Items are the conversations with unread messages, the most recently active first, or the one
	// that the request names.
	Items []UnreadOf
	// Next is the past of the next page of [Service.UnreadPast], 0 at the end.
	Next ID
}

func (u *Unread) add(of UnreadOf) {
	if of.Messages == 0 {
		return
	}
	u.Items = append(u.Items, of)
	u.Total += int64(of.Messages)
	u.Mentions += int64(of.Mentions)
	u.More = u.More || of.More
}

// entered is a conversation with a user's access to it.
type entered struct {
	Conversation
	me Access
}

// unread counts the messages that a member has not read. Only messages since their latest
// joining count, even if they can read older ones. A room has no unread messages.
func (s *Service) unread(r Reader, c Conversation, me Access) (UnreadCount, error) {
	return s.unreadIn(r, c, me, seqs.Set{{From: 1, To: c.LastSeq}})
}

// unreadIn counts as unread does, but only the messages in ranges.
func (s *Service) unreadIn(r Reader, c Conversation, me Access, of seqs.Set) (UnreadCount, error) {
	ranges, err := s.mayBeUnread(r, c, me, of)
	if err != nil || len(ranges) == 0 {
		return UnreadCount{}, err
	}
	counts, err := r.Unread(UnreadQuery{Conversation: c.ID, User: me.user, Ranges: ranges, Now: s.time()})
	if err != nil {
		return UnreadCount{}, err
	}
	return counts[0], nil
}

// unreadOfEach returns what unread does, for each conversation of a user.
func (s *Service) unreadOfEach(r Reader, list []entered) ([]UnreadCount, error) {
	counts := make([]UnreadCount, len(list))
	var queries []UnreadQuery
	var places []int // in list
	now := s.time()
	for i, e := range list {
		ranges, err := s.mayBeUnread(r, e.Conversation, e.me, seqs.Set{{From: 1, To: e.LastSeq}})
		if err != nil {
			return nil, err
		}
		if len(ranges) > 0 {
			queries = append(queries, UnreadQuery{Conversation: e.ID, User: e.me.user, Ranges: ranges, Now: now})
			places = append(places, i)
		}
	}
	found, err := r.Unread(queries...)
	for i, n := range found {
		counts[places[i]] = n
	}
	return counts, err
}

// mayBeUnread returns the messages of a set that an [UnreadQuery] has to examine; all others do not
// count as unread.
func (s *Service) mayBeUnread(r Reader, c Conversation, me Access, of seqs.Set) (seqs.Set, error) {
	if !me.IsMember() || c.Counted == 0 || c.Kind == Room {
		return nil, nil
	}
	floor, err := s.floor(r, c, me)
	if err != nil {
		return nil, err
	}
	if c.Kind == Channel {
		// Nobody joins a channel itself, so messages count from when the user joined the space.
		joined, err := r.SeqSince(c.ID, me.joinedAt)
		if err != nil {
			return nil, err
		}
		floor = max(floor, joined)
	}
	stay := me.stays[len(me.stays)-1]
	return of.Between(max(floor, stay.FromSeq, me.mark.ClearedSeq+1)-1, c.LastSeq+1), nil
}

// Unread returns the actor's unread count in one conversation or, without a ref, the first
// page of [Service.UnreadPast]. It refuses a conversation that the actor cannot see.
func (s *Service) Unread(ctx context.Context, actor Actor, ref *ConversationRef) (Unread, error) {
	if ref != nil {
		return view(ctx, s, func(r Reader) (Unread, error) {
			var out Unread
			c, me, err := s.enter(r, actor, *ref)
			if err != nil {
				return out, err
			}
			n, err := s.unread(r, c, me)
			of := UnreadOf{Conversation: c.ID, UnreadCount: n, Muted: me.mark.Muted}
			if out.add(of); len(out.Items) == 0 {
				out.Items = []UnreadOf{of} // named in the request
			}
			return out, err
		})
	}
	return s.UnreadPast(ctx, actor, 0)
}

// unreadLooked is the number of conversations that one page of unread counts examines.
const unreadLooked = 5000

// UnreadPast returns a page of the actor's unread counts: of their direct conversations and
// groups that are not hidden, with ids less than past; 0 starts at the beginning. It counts in
// several short reads, so the counts are not of a single moment. Any error is from the store.
func (s *Service) UnreadPast(ctx context.Context, actor Actor, past ID) (Unread, error) {
	var out Unread
	active := make(map[ID]time.Time)
	next, err := s.eachUnread(ctx, actor, past, unreadLooked, func(e entered, n UnreadCount) {
		out.add(UnreadOf{Conversation: e.ID, UnreadCount: n, Muted: e.me.mark.Muted})
		active[e.ID] = listedAt(e.Conversation, e.me)
	})
	slices.SortFunc(out.Items, func(a, b UnreadOf) int {
		return cmp.Or(active[b.Conversation].Compare(active[a.Conversation]), cmp.Compare(b.Conversation, a.Conversation))
	})
	out.Next, out.More = next, out.More || next != 0
	return out, err
}

// conversationsAtOnce bounds the conversations that one read examines, which keeps it short.
const conversationsAtOnce = 200

// eachUnread examines up to limit direct conversations and groups of the actor with ids less
// than past; 0 starts at the beginning. It calls fn for each that is not hidden and has unread
// messages, in several short reads. It returns the past of the next call, 0 at the end.
func (s *Service) eachUnread(
	ctx context.Context, actor Actor, past ID, limit int, fn func(entered, UnreadCount),
) (next ID, err error) {
	for looked := 0; looked < limit; {
		most := min(conversationsAtOnce, limit-looked)
		var list []entered
		var counts []UnreadCount
		err := s.read(ctx, func(r Reader) error {
			ids, err := r.ConversationsOf(actor.User, past, most+1)
			if err != nil {
				return err
			}
			next = 0
			if len(ids) > most {
				ids = ids[:most]
				next = ids[most-1]
			}
			if list, err = s.enterEach(r, actor.User, ids); err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(e entered) bool { return e.Counted == 0 || e.me.mark.hides(e.Conversation) })
			counts, err = s.unreadOfEach(r, list)
			return err
		})
		if err != nil {
			return 0, err
		}
		for i, n := range counts {
			if n.Messages > 0 {
				fn(list[i], n)
			}
		}
		if next == 0 {
			break
		}
		looked, past = looked+most, next
	}
	return next, nil
}

// ClearUnread makes all current messages of a conversation count as read by the actor, and
// publishes the count to their other devices. It is not a read receipt. It refuses a
// conversation that the actor cannot see.
func (s *Service) ClearUnread(ctx context.Context, actor Actor, ref ConversationRef) (UnreadOf, error) {
	return write(ctx, s, func(tx Tx) (UnreadOf, error) {
		c, me, err := s.enter(tx, actor, ref)
		if err != nil {
			return UnreadOf{}, err
		}
		return UnreadOf{Conversation: c.ID, Muted: me.mark.Muted}, s.clearUnread(tx, actor, c, me)
	})
}

func (s *Service) clearUnread(tx Tx, actor Actor, c Conversation, me Access) error {
	before, err := s.unread(tx, c, me)
	if err != nil || before.Messages == 0 {
		return err
	}
	now := s.time()
	mark := me.mark
	mark.ClearedSeq, mark.ChangedAt = c.LastSeq, now
	if err := tx.PutMark(c.ID, actor.User, mark); err != nil {
		return err
	}
	return publishUnread(tx, actor, c, UnreadCount{}, Event{At: now, UpToSeq: c.LastSeq})
}

// ClearAllUnread is ClearUnread for every direct conversation and group of the actor that has
// unread messages and is not hidden, in short transactions. Each conversation has an event of its
// own. Messages that arrive in the meantime may stay unread.
func (s *Service) ClearAllUnread(ctx context.Context, actor Actor) error {
	var all []ID
	_, err := s.eachUnread(ctx, actor, 0, math.MaxInt, func(e entered, _ UnreadCount) { all = append(all, e.ID) })
	if err != nil {
		return err
	}
	for ctx := WithBulk(ctx); len(all) > 0; {
		n, err := write(ctx, s, func(tx Tx) (int, error) {
			step := s.pace()
			for i, id := range all {
				if i > 0 && step.over() {
					return i, nil
				}
				c, me, err := s.enter(tx, actor, ConversationRef{ID: id})
				if e, ok := AsError(err); ok && e.Kind == NotFound {
					continue // the actor has left in the meantime
				}
				if err != nil {
					return 0, err
				}
				if err := s.clearUnread(tx, actor, c, me); err != nil {
					return 0, err
				}
			}
			return len(all), nil
		})
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// publishUnread publishes the unread count to the actor's other devices. event has the time and,
// unless another event has them, the messages that were read: without those, a client that counts
// by itself could not tell whether a message that is erased later was unread.
func publishUnread(tx LogWriter, actor Actor, c Conversation, n UnreadCount, event Event) error {
	event.Type, event.Conversation, event.To = UnreadChanged, c.ID, actor.User
	event.Actor, event.ActorDevice, event.Unread = actor.User, actor.Device, &n
	_, err := tx.Append(event)
	return err
}
