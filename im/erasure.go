package im

import (
	"context"
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
	done, err := tx.Erase(m.ID, e, now)
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

// ErasureKey is the place of an erasure among all: by when, then by id.
type ErasureKey struct {
	Wiped time.Time
	ID    ID
}

// ErasureQuery asks a [Reader] for erasures.
type ErasureQuery struct {
	// User asks for what is theirs to know; "" for all.
	User UserID
	// Since leaves out what was erased before.
	Since time.Time
	// Past continues after this one.
	Past  *ErasureKey
	Limit int
}

// ErasedMessage is a tombstone and when its content was overwritten.
type ErasedMessage struct {
	Message
	Wiped time.Time
}

// ErasurePage is a stretch of what was erased.
type ErasurePage struct {
	Items []ErasedMessage
	Next  *ErasureKey
}

// Erased returns the tombstones of what the actor could read, in the order in
// which it was erased: for a client that has missed events.
func (s *Service) Erased(ctx context.Context, actor Actor, q ErasureQuery) (ErasurePage, error) {
	q.User = actor.User
	return view(ctx, s, func(r Reader) (ErasurePage, error) {
		page, err := r.Erasures(q)
		if err != nil {
			return page, err
		}
		seen := page.Items[:0]
		known := make(map[ID]*standing)
		for _, e := range page.Items {
			sees, err := s.seesKnown(r, actor, e.Message, known)
			if err != nil {
				return page, err
			}
			if sees {
				seen = append(seen, e)
			}
		}
		page.Items = seen
		return page, nil
	})
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
