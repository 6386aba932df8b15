package im

import (
	"context"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// HistoryKey is the place of a message in its conversation's history: by seq,
// or, where a time range was asked for, by time and then seq.
type HistoryKey struct {
	CreatedAt time.Time
	Seq       int64
}

// HistoryQuery asks a [Reader] for a stretch of history.
type HistoryQuery struct {
	Conversation ID
	// Ranges are what may be read, rising and apart from each other.
	Ranges seqs.Set
	// Since leaves out what was created before; zero does not.
	Since time.Time
	// Reader leaves out what this user has hidden by ids, and what only others
	// can see; "" does not.
	Reader UserID
	// ActiveAt leaves out what was erased or is due by then; zero does not.
	ActiveAt time.Time
	// Ascending asks for the oldest first; else the newest come first.
	Ascending bool
	// Past continues after this message in the order asked for.
	Past *HistoryKey
	// Type, Sender, From (included) and To (excluded) filter; their zero
	// values do not. With From or To the order is by CreatedAt, then Seq.
	Type   MessageType
	Sender UserID
	From   time.Time
	To     time.Time
	// Timed asks for that order without either.
	Timed bool
	Limit int
}

// ByTime reports whether the order is by time.
func (q HistoryQuery) ByTime() bool { return q.Timed || !q.From.IsZero() || !q.To.IsZero() }

// HistoryPage is a stretch of history. The store looks at a bounded number of
// messages for one, so that a filter that matches little costs no more than
// one that matches all: a page may be short, even empty, and yet have a Next.
type HistoryPage struct {
	Messages []Message
	// Next is the Past of the page that follows, nil at the end.
	Next *HistoryKey
}

// HistoryFilter is what a client asks of a conversation's history.
type HistoryFilter struct {
	// BeforeSeq and AfterSeq bound the seq, both excluded; 0 does not.
	BeforeSeq, AfterSeq int64
	// Ascending asks for the oldest first; else the newest come first.
	Ascending bool
	// Around asks for a page with this message in its middle, as text; "" does
	// not. It goes with none of the bounds above and no time range.
	Around string
	// NoErased leaves out tombstones.
	NoErased bool
	Type     MessageType
	Sender   UserID
	From, To time.Time
	Past     *HistoryKey
	Limit    int
}

// Messages returns a page of a conversation's history as the actor may read
// it. A direct conversation that nobody has written to is empty.
func (s *Service) Messages(ctx context.Context, actor Actor, ref ConversationRef, f HistoryFilter) (HistoryPage, error) {
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

// around returns a page with a message in its middle, newest first: half of it
// are newer ones, as far as there are any.
func (s *Service) around(r Reader, q HistoryQuery, seq int64) (HistoryPage, error) {
	newer, older := q, q
	newer.Ranges, older.Ranges = q.Ranges.Between(seq, 0), q.Ranges.Between(0, seq+1)
	newer.Ascending, newer.Limit = true, q.Limit/2
	above, err := s.history(r, newer)
	if err != nil {
		return HistoryPage{}, err
	}
	older.Limit = q.Limit - len(above.Messages)
	page, err := s.history(r, older)
	slices.Reverse(above.Messages)
	page.Messages = append(above.Messages, page.Messages...)
	return page, err
}

// history is Reader.Messages with what is due as the tombstones that it is. A
// page of large messages ends early.
func (s *Service) history(r Reader, q HistoryQuery) (HistoryPage, error) {
	if len(q.Ranges) == 0 || q.Limit <= 0 {
		return HistoryPage{}, nil
	}
	page, err := r.Messages(q)
	now, size := s.time(), 0
	for i, m := range page.Messages {
		page.Messages[i] = m.AsOf(now)
		if size += m.size(); size >= enoughContent && i+1 < len(page.Messages) {
			page.Messages = page.Messages[:i+1]
			page.Next = &HistoryKey{CreatedAt: m.CreatedAt, Seq: m.Seq}
			break
		}
	}
	return page, err
}

// Message returns one message that the actor may read.
func (s *Service) Message(ctx context.Context, actor Actor, id ID) (Message, error) {
	return view(ctx, s, func(r Reader) (Message, error) {
		_, _, m, err := s.readable(r, actor, id)
		return m, err
	})
}

// readable loads a message, as of now, and its conversation with the actor's
// standing, if the actor may read it.
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
