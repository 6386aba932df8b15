package im

import (
	"context"
	"math"
	"time"
)

// erased are the events that tell of each erasure.
var erased = map[State]EventType{Revoked: MessageRevoked, Burned: MessageBurned, Expired: MessageExpired}

// errErased is the answer to who comes too late to do something with a message
// that has been taken back in another way.
func errErased(s State) error {
	return Refuse(Conflict, "already_"+s.String(), "the message is %s already", s)
}

// erase is the one way in which a message is taken back: it becomes a
// tombstone, its content is destroyed, and everyone who could see it is told.
// The message must be active. told is the event as far as its cause knows it.
func (s *Service) erase(tx Tx, m Message, e Erasure, told Event) (Message, error) {
	now := s.time()
	if e.By != "" {
		now = e.At // one moment, not two
	}
	hiddenBy, err := tx.HiddenBy(m)
	if err != nil {
		return Message{}, err
	}
	stamp, err := tx.Stamp(now)
	if err != nil {
		return Message{}, err
	}
	done, err := tx.Erase(m.ID, e, stamp)
	if err != nil {
		return Message{}, err
	}
	if !done {
		return Message{}, errErased(e.State) // another node was first
	}
	tombstone := m.Tombstone(e)
	told.Type, told.At, told.Conversation = erased[e.State], now, m.Conversation
	told.MessageID, told.Seq, told.Message, told.To = m.ID, m.Seq, &tombstone, m.VisibleTo
	told.HiddenBy = hiddenBy
	if m.Content != nil {
		told.Mentioned, told.MentionedAll = m.Content.Mentions, m.Content.MentionAll
	}
	if _, err = tx.Append(told); err != nil || m.VisibleTo != "" {
		return tombstone, err
	}
	return tombstone, s.lessInThread(tx, Actor{User: told.Actor, Device: told.ActorDevice}, m.Conversation, 1)
}

// dueBatch bounds how long one transaction of EraseDue holds up senders.
const dueBatch = 200

// EraseDue erases what is due, in batches that let senders in between, and
// returns how many messages it erased and when the next one is due, zero if
// none is.
func (s *Service) EraseDue(ctx context.Context) (n int, next time.Time, err error) {
	ctx = asJob(ctx, "timers")
	for {
		type step struct {
			erased int
			more   bool
		}
		done, err := write(ctx, s, func(tx Tx) (step, error) {
			pace, now := s.pace(), s.time()
			due, err := tx.Due(now, dueBatch)
			if err != nil {
				return step{}, err
			}
			for i, m := range due {
				if i > 0 && pace.over() {
					return step{i, true}, nil
				}
				at, state, _ := m.Due()
				if _, err := s.erase(tx, m, Erasure{State: state, At: at}, Event{Late: now.Sub(at)}); err != nil {
					return step{}, err
				}
			}
			return step{len(due), len(due) == dueBatch}, nil
		})
		if err != nil {
			return n, time.Time{}, err
		}
		n += done.erased
		if !done.more {
			break
		}
	}
	next, err = view(ctx, s, func(r Reader) (time.Time, error) {
		at, _, err := r.NextDue()
		return at, err
	})
	return n, next, err
}

// ErasureKey is the place of an erasure among all: by when, then by id. With In it is
// among those of conversations to which a user came back, which are listed first: by
// conversation, then by seq.
type ErasureKey struct {
	Stamp time.Time
	ID    ID
	In    ID
	Seq   int64
}

// ErasureQuery asks a [Reader] for erasures.
type ErasureQuery struct {
	// User asks for what is theirs to know; "" for all.
	User UserID
	// Since leaves out what was erased before.
	Since time.Time
	// AsOf and Past continue a list: those of the page before.
	AsOf  time.Time
	Past  *ErasureKey
	Limit int
}

// ErasedMessage is a tombstone and when it became one here.
type ErasedMessage struct {
	Message
	Stamp time.Time
	// Shredded is when its key was destroyed, zero until then.
	Shredded time.Time
}

// ErasurePage is a stretch of what was erased.
type ErasurePage struct {
	Items []ErasedMessage
	// AsOf is, for a user, the time up to which the list is complete, as of its first
	// page: the Since of the list that goes on from it.
	AsOf time.Time
	Next *ErasureKey
}

// Erased returns the tombstones of what the actor could read, in the order in
// which it was erased: for a client that has missed events. Before them come those of
// conversations to which the actor came back since, whenever it was that their messages
// were erased: while away they were told of none.
func (s *Service) Erased(ctx context.Context, actor Actor, q ErasureQuery) (ErasurePage, error) {
	q.User = actor.User
	return view(ctx, s, func(r Reader) (ErasurePage, error) {
		asOf, q := q.AsOf, q
		if asOf.IsZero() {
			// Not by the clock: whatever is committed later has a later stamp.
			last, err := r.Stamped()
			if err != nil {
				return ErasurePage{}, err
			}
			asOf = time.UnixMilli(last.UnixMilli() + 1).UTC()
			if last.IsZero() {
				asOf = time.UnixMilli(0).UTC()
			}
		}
		known := s.newAccessCache(r, actor.User)
		page := ErasurePage{AsOf: asOf}
		if past := q.Past; !q.Since.IsZero() && (past == nil || past.In != 0) {
			var err error
			if page.Items, page.Next, err = erasedWhileAway(q, known); err != nil || page.Next != nil {
				return page, err
			}
			q.Past, q.Limit = nil, q.Limit-len(page.Items)
			if q.Limit == 0 {
				page.Next = &ErasureKey{} // before all others
				return page, nil
			}
		}
		rest, err := r.Erasures(q)
		if err != nil {
			return page, err
		}
		for _, e := range rest.Items {
			sees, err := known.sees(e.Message)
			if err != nil {
				return page, err
			}
			if sees {
				page.Items = append(page.Items, e)
			}
		}
		page.Next = rest.Next
		return page, nil
	})
}

// What one page looks at of what was erased while somebody was away: messages, and
// conversations, each of which counts as so many.
const (
	awayScan = 2000
	awayCost = 10
)

// erasedWhileAway returns what was erased before the query's Since in conversations to
// which the actor came back after it.
func erasedWhileAway(q ErasureQuery, known accessCache) (list []ErasedMessage, next *ErasureKey, err error) {
	var from ErasureKey
	if q.Past != nil {
		from = *q.Past
	}
	budget := awayScan
	for {
		after := ID(math.MinInt64) // ids of groups may be of any sign
		if from.In != 0 {
			after = from.In - 1
		}
		ids, err := known.reader.ReturnedTo(known.user, q.Since, after, awayScan/awayCost)
		if err != nil || len(ids) == 0 {
			return list, nil, err
		}
		for _, id := range ids {
			if id != from.In {
				from = ErasureKey{In: id}
			}
			for more := true; more; {
				if len(list) >= q.Limit || budget <= 0 {
					return list, &from, nil
				}
				limit := min(q.Limit-len(list), budget)
				erased, err := known.reader.ErasedIn(id, from.Seq, limit)
				if err != nil {
					return nil, nil, err
				}
				budget -= awayCost + len(erased)
				more = len(erased) == limit
				for _, e := range erased {
					from.Seq = e.Seq
					sees, err := known.sees(e.Message)
					if err != nil {
						return nil, nil, err
					}
					if sees && e.Stamp.Before(q.Since) {
						list = append(list, e)
					}
				}
			}
		}
		from = ErasureKey{In: ids[len(ids)-1] + 1}
	}
}

// Erasures returns what was erased, how, when, by whom and how late. It is for
// admins.
func (s *Service) Erasures(ctx context.Context, actor Actor, q ErasureQuery) (ErasurePage, error) {
	if !actor.Admin {
		return ErasurePage{}, errNotAdmin()
	}
	q.User = ""
	return view(ctx, s, func(r Reader) (ErasurePage, error) { return r.Erasures(q) })
}
