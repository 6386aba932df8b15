package im

import (
	"context"
	"math"
	"time"
)

// erased are the types of the events about erasures, by state.
var erased = map[State]EventType{Revoked: MessageRevoked, Burned: MessageBurned, Expired: MessageExpired}

// errErased refuses to erase a message that was erased in another way already.
func errErased(s State) error {
	return Refuse(Conflict, "already_"+s.String(), "the message is %s already", s)
}

// erase erases an active message. All erasures go through it. The message becomes a tombstone, its
// key is shredded after the commit, and an event is published to the users who could see it. event
// is that event with the fields that the caller knows. It refuses a message that is no longer
// active.
func (s *Service) erase(tx Tx, m Message, e Erasure, event Event) (Message, error) {
	now := s.time()
	if e.By != "" {
		now = e.At // the event and the tombstone have the same time
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
		return Message{}, errErased(e.State) // another erasure was first
	}
	tombstone := m.Tombstone(e)
	event.Type, event.At, event.Conversation = erased[e.State], now, m.Conversation
	event.MessageID, event.Seq, event.Message, event.To = m.ID, m.Seq, &tombstone, m.VisibleTo
	event.HiddenBy = hiddenBy
	if m.Content != nil {
		event.Mentioned, event.MentionedAll = m.Content.Mentions, m.Content.MentionAll
	}
	if _, err = tx.Append(event); err != nil || m.VisibleTo != "" {
		return tombstone, err
	}
	return tombstone, s.lessInThread(tx, Actor{User: event.Actor, Device: event.ActorDevice}, m.Conversation, 1)
}

// dueBatch bounds the messages that one transaction of EraseDue erases.
const dueBatch = 200

// EraseDue erases the messages that are due. It returns the number of messages that it erased, and
// when the next one is due, zero if none is. It works in steps, without pauses, because due
// messages must be erased in time. Any error is from the store.
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

// ErasureKey is the position of an erasure in a list: by its stamp, then by id. If In is set, the
// erasure is in a conversation that the user has joined again; such erasures come first, by
// conversation, then by seq.
type ErasureKey struct {
	Stamp time.Time
	ID    ID
	In    ID
	Seq   int64
}

// ErasureQuery asks for a page of erasures.
type ErasureQuery struct {
	// User asks for the erasures in conversations of this user; "" asks for all.
	User UserID
	// Since leaves out earlier erasures.
	Since time.Time
	// AsOf and Past continue a list: they are AsOf and Next of the previous page.
	AsOf  time.Time
	Past  *ErasureKey
	Limit int
}

// ErasedMessage is the tombstone of an erased message.
type ErasedMessage struct {
	Message
	// Stamp is the time under which the erasure is listed, see [ErasureWriter.Stamp].
	Stamp time.Time
	// Shredded is when its key was shredded, zero until then.
	Shredded time.Time
}

// ErasurePage is a page of erasures.
type ErasurePage struct {
	Items []ErasedMessage
	// AsOf is, for a user, the time up to which the list is complete, as of its first page.
	// It is the Since of a later list that continues this one.
	AsOf time.Time
	Next *ErasureKey
}

// Erased returns a page of the tombstones of erased messages that the actor could read, in the
// order of their stamps. It is for a client that has missed events. Erasures in conversations that
// the actor has joined again since q.Since come first, whatever their stamps, because the actor
// received no events while away. Any error is from the store.
func (s *Service) Erased(ctx context.Context, actor Actor, q ErasureQuery) (ErasurePage, error) {
	q.User = actor.User
	return view(ctx, s, func(r Reader) (ErasurePage, error) {
		asOf, q := q.AsOf, q
		if asOf.IsZero() {
			// Take AsOf from the stamps and not from the clock, because every later commit has a
			// later stamp.
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

// To find erasures from while the user was away, one page examines about awayScan erased messages.
// Each query for them counts as awayCost messages.
const (
	awayScan = 2000
	awayCost = 10
)

// erasedWhileAway returns erasures before q.Since in conversations that the actor has joined
// again since q.Since. next is where the next page continues, nil if these erasures end here.
func erasedWhileAway(q ErasureQuery, known accessCache) (list []ErasedMessage, next *ErasureKey, err error) {
	var from ErasureKey
	if q.Past != nil {
		from = *q.Past
	}
	budget := awayScan
	for {
		after := ID(math.MinInt64) // ids of groups may be negative
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

// Erasures returns a page of all erasures. It refuses an actor who is not an admin.
func (s *Service) Erasures(ctx context.Context, actor Actor, q ErasureQuery) (ErasurePage, error) {
	if !actor.Admin {
		return ErasurePage{}, errNotAdmin()
	}
	q.User = ""
	return view(ctx, s, func(r Reader) (ErasurePage, error) { return r.Erasures(q) })
}
