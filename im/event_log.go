package im

import (
	"context"
	"slices"
)

// LogBounds returns the ends of the event log, and the logs that it continues.
func (s *Service) LogBounds(ctx context.Context) (LogBounds, error) {
	bounds, err := view(ctx, s, func(r Reader) (LogBounds, error) { return r.LogBounds() })
	bounds.Past = s.store.Instance().PastLogs
	return bounds, err
}

// LogOf returns the log in which an event was published: this one, or one that it continues.
func (s *Service) LogOf(at Position) uint32 {
	instance := s.store.Instance()
	for _, past := range instance.PastLogs { // in the order of their heads
		if at <= past.Head {
			return past.Log
		}
	}
	return instance.Log
}

// CheckLog refuses an event that was published at a position of another log than [Service.LogOf]
// names: this server never had it, or a restored backup has taken it back.
func (s *Service) CheckLog(log uint32, at Position) error {
	if log != s.LogOf(at) {
		return errEventGone()
	}
	return nil
}

// EnoughContent is the number of bytes of messages after which a page of history or a
// window of the log ends. Larger pages and windows would occupy readers, and the memory of slow
// streams, for too long.
const EnoughContent = 512 << 10

// mostEvents bounds the events that one read of the log examines: each may take several
// queries to decide whether the actor receives it.
const mostEvents = 256

// Events returns the events with after < position <= upTo that the actor receives on their device.
// The creation or erasure of a message comes with the message as they may read it now, or without
// it if they have since left the conversation or hidden the message. Other events have none.
// Events about messages that were trimmed or purged are left out, as are events about hidden
// messages except their creation. The window may end early. Any error is from the store.
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
		known := s.newAccessCache(r, actor.User)
		if err := known.load(conversationsOf(w.Events)); err != nil {
			return w, err
		}
		size, received := 0, 0 // the received events are moved to the front
		for i := range w.Events {
			e := &w.Events[i]
			if actor.ActedHere(e.Actor, e.ActorDevice) {
				continue
			}
			receives, err := s.receives(e, known)
			if err != nil {
				return w, err
			}
			if e.Message != nil {
				size += e.Message.size()
			}
			if receives {
				if received < i {
					w.Events[received] = *e
				}
				received++
			}
			if size >= EnoughContent {
				w.Through = e.Position
				break
			}
		}
		clear(w.Events[received:])
		w.Events = w.Events[:received]
		return w, nil
	})
}

// conversationsOf returns the conversations that events are about, each once.
func conversationsOf(events []Event) []ID {
	ids := make([]ID, 0, len(events))
	for _, e := range events {
		if e.Conversation != 0 {
			ids = append(ids, e.Conversation)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// receives reports whether the user of the cache receives an event of the log. It replaces the
// message of the event as attach does, and removes an activity that the user must not learn of.
func (s *Service) receives(e *Event, known accessCache) (bool, error) {
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

// attach replaces the stored message of an event by the message as the user may read it now, if the
// event is the creation or an erasure of the message, and otherwise removes it. It returns true for
// skip if the user does not receive the event, because the message or its conversation was deleted
// or they never could read it. A former member receives the events of their stay without messages.
// A user who has hidden a message receives only its creation, without the message, because it may
// have brought the conversation back into their list.
func (s *Service) attach(e *Event, known accessCache) (skip bool, err error) {
	m, hidden := e.Message, len(e.HiddenBy) > 0
	e.Message, e.HiddenBy = nil, nil
	c, me, err := known.access(e.Conversation)
	if err != nil {
		return false, err
	}
	if !c.DeletedAt.IsZero() || !me.Receives(c, e.Seq) {
		return true, nil
	}
	if m == nil || s.past(c, *m) || m.VisibleTo != "" && m.VisibleTo != me.user {
		return true, nil
	}
	if hidden || !s.within(c, me, *m) {
		return e.Type != MessageCreated, nil
	}
	if me.Sees(c, m.Seq) && (e.Type == MessageCreated || e.Type.Erases()) {
		e.Tracked = e.Type == MessageCreated && m.tracked(c)
		*m = m.AsOf(s.time())
		e.Message = m
	}
	return false, nil
}

// tracked reports whether receipts for the message are published to its sender.
func (m Message) tracked(c Conversation) bool { return c.Kind == Direct || m.Receipt }

// TrimLog deletes the events that are older than the policy's LogRetention, and returns their
// number. It works in steps with pauses, see [PauseAfter], and deletes nothing while the clock is
// not trusted.
func (s *Service) TrimLog(ctx context.Context) (int, error) {
	ctx = asJob(ctx, "log")
	before := s.now().Add(-s.policy.LogRetention)
	if s.holds() {
		return 0, nil
	}
	return pacedAll(ctx, s, logRows, func(tx Tx, limit int) (int, error) {
		n, err := tx.TrimLog(before, limit)
		if err == nil && n < limit {
			// With this stamp clients get a recent time to continue from even if nothing is ever
			// erased.
			_, err = tx.Stamp(s.time())
		}
		return n, err
	})
}
