package im

import (
	"context"
)

// LogBounds returns the ends of the event log.
func (s *Service) LogBounds(ctx context.Context) (LogBounds, error) {
	return view(ctx, s, func(r Reader) (LogBounds, error) { return r.LogBounds() })
}

// Audience is who of some users may be told of a conversation.
type Audience struct {
	Conversation Conversation
	Members      []Membership
}

// MembersAt returns which of the users were members of a conversation when the
// event at this position happened.
func (s *Service) MembersAt(ctx context.Context, conversation ID, at Position, users []UserID) (Audience, error) {
	return view(ctx, s, func(r Reader) (a Audience, err error) {
		if a.Conversation, err = r.Conversation(conversation); err != nil {
			return a, err
		}
		a.Members, err = r.MembersAt(conversation, at, users)
		return a, err
	})
}

// enoughContent is how many bytes of messages one page of history or window of
// the log carries: messages are small, and where they are not, more of them
// would keep readers, and the memory of slow streams, for long.
const enoughContent = 512 << 10

// Events returns what of the log after one position and up to another is for
// the actor to be told on their device, with the messages as they may read
// them now: a message of a conversation that they have left since is absent,
// and the events of one that is gone, or that they have hidden, are left out.
// The window may end early.
func (s *Service) Events(ctx context.Context, actor Actor, after, upTo Position, limit int) (EventWindow, error) {
	return view(ctx, s, func(r Reader) (EventWindow, error) {
		bounds, err := r.LogBounds()
		if err != nil {
			return EventWindow{}, err
		}
		w, err := r.Events(actor.User, after, upTo, limit)
		w.Cut = bounds.Cut
		if err != nil {
			return w, err
		}
		told := w.Events[:0]
		known := make(map[ID]standing)
		size := 0
		for _, e := range w.Events {
			if size >= enoughContent {
				break
			}
			through := e.Position
			if !actor.ActedHere(e.Actor, e.ActorDevice) {
				skip := false
				if e.MessageID != 0 {
					if skip, err = s.attach(r, actor, &e, known); err != nil {
						return w, err
					}
				}
				if !skip {
					told = append(told, e)
				}
				if e.Message != nil {
					size += e.Message.size()
				}
			}
			if size >= enoughContent {
				w.Through = through
			}
		}
		w.Events = told
		return w, nil
	})
}

// standing is what decides whether a reader sees the messages of a
// conversation.
type standing struct {
	conversation Conversation
	membership   Membership
}

// standingIn returns an actor's standing in a conversation, loaded once for
// known. Where there is none it is one that sees nothing.
func standingIn(r Reader, actor Actor, id ID, known map[ID]standing) (standing, error) {
	st, ok := known[id]
	if ok {
		return st, nil
	}
	var err error
	if st.conversation, err = r.Conversation(id); err != nil {
		return st, err
	}
	if st.membership, _, err = maybe(r.Membership(id, actor.User)); err != nil {
		return st, err
	}
	known[id] = st
	return st, nil
}

// attach gives an event its message as the actor may read it now, and reports
// whether it is not to be told: because the message or its conversation is gone
// altogether, or the actor has hidden it or could never read it. Who has left is
// told what happened while they were in, without the message.
func (s *Service) attach(r Reader, actor Actor, e *Event, known map[ID]standing) (skip bool, err error) {
	st, err := standingIn(r, actor, e.Conversation, known)
	if err != nil {
		return false, err
	}
	c, me := st.conversation, st.membership
	if !c.DeletedAt.IsZero() || !me.Told(c, e.Seq) {
		return true, nil
	}
	m, found, err := maybe(r.Message(e.MessageID))
	if err != nil || !found {
		return true, err
	}
	if shown, err := s.shows(r, c, me, m); err != nil || !shown {
		return true, err
	}
	if !me.Sees(c, m.Seq) {
		return false, nil
	}
	if e.Type == MessageCreated || e.Type.Erases() {
		m = m.AsOf(s.time())
		e.Message = &m
		e.Tracked = e.Type == MessageCreated && m.tracked(c)
	}
	return false, nil
}

// tracked reports whether receipts for the message are told to its sender.
func (m Message) tracked(c Conversation) bool { return c.Kind == Direct || m.Receipt }

// trimBatch bounds how long one transaction of TrimLog holds up senders.
const trimBatch = 1000

// TrimLog cuts off the part of the event log that is older than the policy
// keeps, in batches that let senders in between, and returns how many events
// it removed.
func (s *Service) TrimLog(ctx context.Context) (int, error) {
	before := s.now().Add(-s.policy.LogRetention)
	for total := 0; ; {
		n, err := write(ctx, s, func(tx Tx) (int, error) { return tx.TrimLog(before, trimBatch) })
		total += n
		if err != nil || n < trimBatch {
			return total, err
		}
	}
}

// CutTokens makes every token of a user that was issued until now bad, and
// ends the streams that were opened with one. It is for admins.
func (s *Service) CutTokens(ctx context.Context, actor Actor, user UserID) (TokenCut, error) {
	if !actor.Admin {
		return TokenCut{}, errNotAdmin()
	}
	if err := checkUsers("user", []UserID{user}); err != nil {
		return TokenCut{}, err
	}
	return write(ctx, s, func(tx Tx) (TokenCut, error) {
		cut := TokenCut{User: user, At: s.time()}
		return cut, tx.CutTokens(cut)
	})
}

// TokenCuts returns every cut-off that was made, for the verifier to start
// with.
func (s *Service) TokenCuts(ctx context.Context) ([]TokenCut, error) {
	return view(ctx, s, func(r Reader) ([]TokenCut, error) { return r.TokenCuts() })
}
