package im

import (
	"context"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// HistoryKey is the position of a message in the history of its conversation: its Seq, or its
// CreatedAt and Seq if [HistoryQuery.ByTime] is true.
type HistoryKey struct {
	CreatedAt time.Time
	Seq       int64
}

// HistoryQuery asks for a page of a conversation's history.
type HistoryQuery struct {
	Conversation ID
	// Ranges are the messages to choose from.
	Ranges seqs.Set
	// Since leaves out messages created before it; zero does not.
	Since time.Time
	// Reader leaves out messages that this user has hidden by their ids, and those that only
	// another user can see; "" does not.
	Reader UserID
	// ActiveAt leaves out messages that are erased or due by that time; zero does not.
	ActiveAt time.Time
	// Ascending puts the oldest first; otherwise the newest come first.
	Ascending bool
	// Past continues after this message, in the order of the query.
	Past *HistoryKey
	// Type, Sender, From (included) and To (excluded) filter; their zero values do not. With
	// From or To the order is by CreatedAt, then by Seq.
	Type   MessageType
	Sender UserID
	From   time.Time
	To     time.Time
	// Timed orders by CreatedAt and Seq without From or To.
	Timed bool
	Limit int
}

// ByTime reports whether the order is by CreatedAt.
func (q HistoryQuery) ByTime() bool { return q.Timed || !q.From.IsZero() || !q.To.IsZero() }

// HistoryPage is a page of history. The store examines a bounded number of messages for it,
// so that a filter that matches few costs no more than one that matches all. So a page may be short
// or empty and still have a Next.
type HistoryPage struct {
	Messages []Message
	// Next is the Past of the next page, nil at the end.
	Next *HistoryKey
}

// HistoryFilter is a client's request for a page of history.
type HistoryFilter struct {
	// BeforeSeq and AfterSeq bound the seq, both excluded; 0 does not.
	BeforeSeq, AfterSeq int64
	// Ascending puts the oldest first; otherwise the newest come first.
	Ascending bool
	// Around is the id of the message in the middle of the page, "" for none. It cannot be combined
	// with the bounds above, From and To.
	Around string
	// NoErased leaves out tombstones.
	NoErased bool
	Type     MessageType
	Sender   UserID
	From, To time.Time
	Past     *HistoryKey
	Limit    int
}

// check refuses an Around with bounds: a page can only be around a message or between them.
func (f HistoryFilter) check() error {
	if f.Around != "" && (f.BeforeSeq != 0 || f.AfterSeq != 0 || f.Ascending || !f.From.IsZero() || !f.To.IsZero()) {
		return RefuseField(Invalid, "invalid_request", "around", "does not go with before_seq, after_seq, from or to")
	}
	return nil
}

// Messages returns a page of a conversation's history as the actor may read it. It is empty
// for a direct conversation that does not exist yet. It refuses a conversation that the
// actor cannot see, and an Around that they cannot read or that is combined with a bound.
func (s *Service) Messages(ctx context.Context, actor Actor, ref ConversationRef, f HistoryFilter) (HistoryPage, error) {
	if err := f.check(); err != nil {
		return HistoryPage{}, err
	}
	return view(ctx, s, func(r Reader) (HistoryPage, error) {
		c, m, err := s.enter(r, actor, ref)
		if e, ok := AsError(err); ok && e.Kind == NotFound && ref.Peer != "" {
			return HistoryPage{}, nil
		}
		if err != nil {
			return HistoryPage{}, err
		}
		q, err := s.visible(r, c, m)
		if err != nil {
			return HistoryPage{}, err
		}
		q.Ascending, q.Past, q.Limit = f.Ascending, f.Past, f.Limit
		q.Type, q.Sender, q.From, q.To = f.Type, f.Sender, f.From, f.To
		if f.NoErased {
			q.ActiveAt = s.time()
		}
		q.Ranges = q.Ranges.Between(f.AfterSeq, f.BeforeSeq)
		if f.Around != "" && f.Past == nil {
			middle, err := s.named(r, c, m, "around", f.Around)
			if err != nil {
				return HistoryPage{}, err
			}
			return s.around(r, q, middle.Seq)
		}
		return s.history(r, q)
	})
}

// around returns a page with a message in its middle, newest first. If there are fewer newer
// messages than half a page, it has more older ones.
func (s *Service) around(r Reader, q HistoryQuery, seq int64) (HistoryPage, error) {
	newer, older := q, q
	newer.Ranges, older.Ranges = q.Ranges.Between(seq, 0), q.Ranges.Between(0, seq+1)
	newer.Ascending, newer.Limit = true, q.Limit/2
	after, err := s.history(r, newer)
	if err != nil {
		return HistoryPage{}, err
	}
	older.Limit = q.Limit - len(after.Messages)
	page, err := s.history(r, older)
	slices.Reverse(after.Messages)
	page.Messages = append(after.Messages, page.Messages...)
	return page, err
}

// history is [MessageReader.Messages] with tombstones in place of messages that are due. A
// page of large messages ends early.
func (s *Service) history(r MessageReader, q HistoryQuery) (HistoryPage, error) {
	if len(q.Ranges) == 0 || q.Limit <= 0 {
		return HistoryPage{}, nil
	}
	page, err := r.Messages(q)
	now, size := s.time(), 0
	for i, m := range page.Messages {
		page.Messages[i] = m.AsOf(now)
		if size += m.size(); size >= EnoughContent && i+1 < len(page.Messages) {
			page.Messages = page.Messages[:i+1]
			page.Next = &HistoryKey{CreatedAt: m.CreatedAt, Seq: m.Seq}
			break
		}
	}
	return page, err
}

// Message returns a message as of now. It refuses one that the actor cannot read.
func (s *Service) Message(ctx context.Context, actor Actor, id ID) (Message, error) {
	return view(ctx, s, func(r Reader) (Message, error) {
		_, _, m, err := s.readable(r, actor, id)
		return m, err
	})
}

// readable returns a message as of now, its conversation and the actor's access. It refuses
// a message that the actor cannot read.
func (s *Service) readable(r Reader, actor Actor, id ID) (Conversation, Access, Message, error) {
	m, found, err := maybe(r.Message(id))
	if err == nil && !found {
		err = errUnknownMessage()
	}
	if err != nil {
		return Conversation{}, Access{}, Message{}, err
	}
	c, me, err := s.enter(r, actor, ConversationRef{ID: m.Conversation})
	if e, ok := AsError(err); ok && e.Kind == NotFound {
		err = errUnknownMessage()
	}
	if err != nil {
		return Conversation{}, Access{}, Message{}, err
	}
	seen, err := s.sees(r, c, me, m)
	if err == nil && !seen {
		err = errUnknownMessage()
	}
	return c, me, m.AsOf(s.time()), err
}
