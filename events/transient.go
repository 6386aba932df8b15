package events

import (
	"errors"
	"slices"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// maxPendingTransients bounds the transient events that wait for the dispatcher.
const maxPendingTransients = 1024

// Transient is an event that is not in the log. Only open streams that keep up get it; a client
// that was offline never learns of it.
type Transient struct {
	Type im.EventType
	// Conversation is the conversation whose audience gets the event: the users who get the other
	// events of the conversation.
	Conversation im.ID
	// To are the only users of that audience who get it, nil for all. Users outside the audience
	// are ignored.
	To []im.UserID
	// Not is a user who does not get it, "" for none.
	Not im.UserID
	// Actor and ActorDevice are who caused it. The streams of that device do not get it.
	Actor       im.UserID
	ActorDevice string
	At          time.Time
	// Data is the JSON of the event, on one line.
	Data []byte
}

// transient is a Transient that waits for the dispatcher.
type transient struct {
	Transient
	// after is the newest position of the log when the event was published. The hub dispatches it
	// after the events up to this position and before later ones, so a user whom one of the earlier
	// events removed does not get it.
	after im.Position
}

// PublishTransient publishes an event that is not in the log to the streams of its audience. It
// does not block: a stream that is behind, or has MaxTransients in its queue, does not get the
// event, and no stream gets it if too many wait for the hub. Events from sequential calls keep
// their order. A user who loses access to the conversation while the event waits for their stream
// does not get it.
func (h *Hub) PublishTransient(t Transient) {
	if !h.inbox.putTransient(transient{Transient: t, after: h.opts.Head()}) {
		h.opts.Observer.TransientsDropped(1)
	}
}

// putTransient adds a transient event unless there are too many.
func (b *inbox) putTransient(t transient) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.transients)
	if b.closed || n >= maxPendingTransients {
		return false
	}
	if n > 0 { // another call may have read a later position and appended first
		t.after = max(t.after, b.transients[n-1].after)
	}
	b.transients = append(b.transients, t)
	b.signal()
	return true
}

// dueTransients takes the transient events that are due once all published commits are dispatched.
// The caller holds b.mu.
func (b *inbox) dueTransients() []transient {
	n := 0
	for n < len(b.transients) && b.transients[n].after <= b.head {
		n++
	}
	due := b.transients[:n:n]
	if b.transients = b.transients[n:]; len(b.transients) == 0 {
		b.transients = nil
	}
	return due
}

// relay puts the transient events that come before a position into the queues of their streams, and
// returns the others.
func (h *Hub) relay(waiting []transient, before im.Position) []transient {
	for len(waiting) > 0 && waiting[0].after < before && h.ctx.Err() == nil {
		h.relayOne(&waiting[0])
		waiting = waiting[1:]
	}
	return waiting
}

func (h *Hub) relayOne(t *transient) {
	h.mu.Lock()
	if len(h.audience.users) == 0 {
		h.mu.Unlock()
		return
	}
	// Use the members after the dispatched events. The members at the last of these events would
	// include users who lost access with it.
	e := im.Event{
		Position: max(h.processed, t.after) + 1, Type: t.Type, At: t.At,
		Conversation: t.Conversation, Actor: t.Actor, ActorDevice: t.ActorDevice,
	}
	unchecked, last := h.audience.unchecked(&e)
	h.mu.Unlock()

	found, err := h.membersAt(&e, unchecked)
	if err != nil {
		if !errors.Is(err, im.ErrNotFound) { // the conversation was purged
			h.opts.Logger.Error("recipients of a transient event not looked up", "error", faults.Text(err), "type", t.Type)
		}
		h.opts.Observer.TransientsDropped(1)
		return
	}
	h.mu.Lock()
	h.recipients = h.audience.recipients(h.recipients[:0], &e, found, last, time.Now())
	h.audience.transients++
	serial := h.audience.transients
	h.mu.Unlock()
	defer clear(h.recipients)

	f := &Frame{event: &e, transient: serial}
	w := wireOf(endChunk(appendFrame(beginChunk(nil), "", t.Type, t.Data)))
	f.wire.Store(&w)
	h.unwritten.add(f)
	dropped := 0
	for _, s := range h.recipients {
		if t.To != nil && !slices.Contains(t.To, s.actor.User) || s.actor.User == t.Not {
			continue
		}
		turn, taken := s.offerTransient(f)
		if !taken {
			dropped++
		}
		h.collect(turn)
	}
	h.wakeWriters()
	h.unwritten.release(f)
	if dropped > 0 {
		h.opts.Observer.TransientsDropped(dropped)
	}
}

// offerTransient puts the frame of a transient event into the queue. It returns false if the stream
// is behind, has ended, or has too many transient events in its queue. turn is as for offer.
func (s *Subscription) offerTransient(f *Frame) (turn *pooled, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil || s.behind || s.transients >= s.hub.opts.MaxTransients {
		return nil, false
	}
	f.holds.Add(1)
	s.queue = append(s.queue, f)
	s.transients++
	return s.claim(), true
}

// dropTransients drops the unwritten transient events of the user's streams. The caller holds the
// lock of the hub.
func (a *audience) dropTransients(u *user) {
	for _, s := range u.streams {
		s.transientsLost.Store(a.transients)
	}
}

// blocked drops the unwritten transient events of the streams of users who have just blocked
// another user, because the blocked user may have caused some of them.
func (h *Hub) blocked(by []im.UserID) {
	if len(by) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range by {
		if u := h.audience.users[id]; u != nil {
			h.audience.dropTransients(u)
		}
	}
}

// lost reports whether the stream must not write a frame, because its user may have lost access
// to the conversation of a transient event, or blocked the user that caused it.
func (s *Subscription) lost(f *Frame) bool {
	return f.transient > 0 && f.transient <= s.transientsLost.Load()
}
