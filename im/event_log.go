package im

import (
	"context"
)

// LogBounds returns the ends of the event log, and which logs it goes on from.
func (s *Service) LogBounds(ctx context.Context) (LogBounds, error) {
	bounds, err := view(ctx, s, func(r Reader) (LogBounds, error) { return r.LogBounds() })
	bounds.Past = s.store.Instance().PastLogs
	return bounds, err
}

// enoughContent is how many bytes of messages one page of history or window of
// the log carries: messages are small, and where they are not, more of them
// would keep readers, and the memory of slow streams, for long.
const enoughContent = 512 << 10

// mostEvents is how many events one read of the log looks at, for it to be short:
// each may take some look-ups to see whether it is for the actor.
const mostEvents = 256

// Events returns what of the log after one position and up to another is for
// the actor to be told on their device, with the messages as they may read
// them now: a message of a conversation that they have left since, or that they
// have hidden, is absent, and the events of one that is gone are left out, as are
// those of one that they have hidden but for its creation.
// The window may end early.
func (s *Service) Events(ctx context.Context, actor Actor, after, upTo Position, limit int) (EventWindow, error) {
	limit = min(limit, mostEvents)
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
		known := s.newAccessCache(r, actor.User)
		size := 0
		for _, e := range w.Events {
			if size >= enoughContent {
				break
			}
			through := e.Position
			if !actor.ActedHere(e.Actor, e.ActorDevice) {
				tells, err := s.tells(&e, known)
				if err != nil {
					return w, err
				}
				if tells {
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

// tells reports whether an event of the log is for the actor to be told, and gives
// it its message.
func (s *Service) tells(e *Event, known accessCache) (bool, error) {
	if e.Conversation == 0 {
		return true, nil
	}
	c, err := known.conversation(e.Conversation)
	if err != nil {
		return false, err
	}
	if e.To == "" && (c.Kind == Channel || c.Kind == Thread && c.Space != 0) {
		if saw, err := s.couldSeeAt(known.reader, c, known.user, e.Position); err != nil || !saw {
			return false, err
		}
	}
	if e.Type == ThreadUpdated && c.History == HistoryJoined {
		_, me, err := known.access(e.Conversation)
		if err != nil {
			return false, err
		}
		if e.Activity != nil && (!me.IsMember() || e.Activity.Since.Before(me.joinedAt)) {
			e.Activity = nil
		}
	}
	if e.MessageID == 0 {
		return true, nil
	}
	skip, err := s.attach(e, known)
	return !skip, err
}

// attach gives an event its message as the actor may read it now, and reports
// whether the event is not for them: because the message or its conversation is gone
// altogether, or they could never read it. Who has left gets what happened while
// they were in, without the message, and who has hidden it, that there was one:
// it may have brought the conversation back into their list.
func (s *Service) attach(e *Event, known accessCache) (skip bool, err error) {
	c, me, err := known.access(e.Conversation)
	if err != nil {
		return false, err
	}
	if !c.DeletedAt.IsZero() || !me.Receives(c, e.Seq) {
		return true, nil
	}
	m, found, err := maybe(known.reader.Message(e.MessageID))
	if err != nil || !found {
		return true, err
	}
	if s.past(c, m) || m.VisibleTo != "" && m.VisibleTo != me.user {
		return true, nil
	}
	if shown, err := s.shows(known.reader, c, me, m); err != nil || !shown {
		return e.Type != MessageCreated, err
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

// TrimLog cuts off the part of the event log that is older than the policy
// keeps, in batches that let senders in between, and returns how many events
// it removed.
func (s *Service) TrimLog(ctx context.Context) (int, error) {
	ctx = asJob(ctx, "log")
	before := s.now().Add(-s.policy.LogRetention)
	if s.holds() {
		return 0, nil
	}
	return pacedAll(ctx, s, logRows, func(tx Tx, limit int) (int, error) {
		n, err := tx.TrimLog(before, limit)
		if err == nil && n < limit {
			// Also where nothing was ever erased, clients get a recent time to go on from.
			_, err = tx.Stamp(s.time())
		}
		return n, err
	})
}
