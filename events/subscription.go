package events

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/im"
)

// Subscriber is a client that opens a stream.
type Subscriber struct {
	Actor  im.Actor
	Cursor *Cursor // where the stream begins; nil for now
	// IssuedAt and ExpiresAt are the times in the token. Every cut-off ends a token with a
	// zero IssuedAt. A token with a zero ExpiresAt does not expire.
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Subscription is one stream. It is registered with the hub from [Hub.Subscribe] until
// [Subscription.Close]. [Subscription.Serve] writes it with the goroutine of its caller, and
// [Subscription.ServeConn] with one of the writers of the hub.
//
// A stream has joined the dispatcher, which then puts frames into its queue, or it is
// behind: then its queue is empty, and a goroutine reads the log for it. It falls behind when
// its queue is full or the dispatcher has missed events, and joins again after catching up.
type Subscription struct {
	hub       *Hub
	actor     im.Actor
	cursor    *Cursor
	issuedAt  time.Time
	expiresAt time.Time

	// position is the position up to which all events were written. Only the goroutine that serves
	// the stream uses it.
	position im.Position

	closed bool // guarded by hub.mu

	mu    sync.Mutex
	ended error // the reason; nil while the stream lasts
	// wake holds a token when Serve has something to do.
	wake chan struct{}
	// pooled is the writer's state of the stream, nil if Serve writes it. scheduled means that the
	// writer, or a goroutine of its own, is serving the stream or will soon.
	pooled    *pooled
	scheduled bool
	// interrupt aborts what the stream is waiting for, with the reason why the stream has ended. It
	// is nil if the stream waits only for events.
	interrupt func(reason error)
	behind    bool
	// joined is the position after which events come through the queue: that of the dispatcher
	// when this stream joined, or a greater one. Events up to it are not queued.
	joined im.Position
	// queue are frames that the dispatcher has queued, and batch those that are being written. Both
	// hold their frames, so that retractions find them.
	queue      []*Frame
	batch      []*Frame
	transients int // the number of frames in queue that are transient events
	// transientsLost is the number of the newest transient event that must not be written.
	transientsLost atomic.Uint64
	// invalid means that the rest of batch must not be written, because it must be read from the
	// log again or the stream has ended. It changes only with mu held.
	invalid atomic.Bool
}

// Subscribe registers a stream, which gets the events after its cursor or, without one, those
// committed from now on. The caller must call [Subscription.Serve], [Subscription.ServeConn] or
// [Subscription.Close]. Subscribe does not read the log. The error is [ErrTooManyStreams],
// [ErrOverloaded], [ErrTokenCut] or [ErrClosed].
func (h *Hub) Subscribe(sub Subscriber) (*Subscription, error) {
	s := &Subscription{
		hub:       h,
		actor:     sub.Actor,
		cursor:    sub.Cursor,
		issuedAt:  sub.IssuedAt,
		expiresAt: sub.ExpiresAt,
		behind:    sub.Cursor != nil,
	}
	head := h.opts.Head()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if h.cutBefore(sub.Actor.User, sub.IssuedAt) {
		return nil, ErrTokenCut
	}
	if u := h.audience.users[sub.Actor.User]; u != nil && len(u.streams) >= h.opts.MaxStreamsPerUser {
		return nil, ErrTooManyStreams
	}
	if h.opts.MaxStreams > 0 && h.streams >= h.opts.MaxStreams {
		return nil, ErrOverloaded
	}
	// Events committed before are not for this stream, even if the hub has not dispatched
	// them yet. Otherwise a client would get events of its own requests that were answered before.
	s.joined = max(h.processed, head)
	s.position = s.joined
	h.audience.add(s)
	h.streams++
	h.opts.Observer.StreamsOpen(h.streams)
	return s, nil
}

// Close removes the stream from the hub. It may be called more than once.
func (s *Subscription) Close() {
	s.end(ErrClosed)
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	h.audience.remove(s)
	h.streams--
	h.opts.Observer.StreamsOpen(h.streams)
}

// offer puts a frame into the queue, unless the stream has ended, is behind or reads the event
// from the log. If the queue is full the stream falls behind. If it is now a writer's turn, offer
// returns the stream, which the caller must give to the writer.
func (s *Subscription) offer(f *Frame) *pooled {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil, s.behind, f.event.Position <= s.joined:
		return nil
	case len(s.queue)-s.transients >= s.hub.opts.QueueSize:
		s.behind = true
		s.dropQueue()
		s.hub.opts.Observer.StreamsLagged(1)
	default:
		f.holds.Add(1)
		s.queue = append(s.queue, f)
	}
	return s.claim()
}

// fallBehind makes the stream read all events that it has not written from the log.
func (s *Subscription) fallBehind() {
	s.mu.Lock()
	s.behind = true
	s.dropQueue()
	s.signal()
	s.mu.Unlock()
}

// invalidate makes the stream fall behind and skip the rest of its batch. A stream that is reading
// the log finds retractions by itself, see [Hub.retractSince].
func (s *Subscription) invalidate() {
	s.mu.Lock()
	s.behind = true
	s.invalid.Store(true)
	s.dropQueue()
	s.signal()
	s.mu.Unlock()
}

// invalidateIn invalidates the stream if it has unwritten frames about messages of a
// conversation.
func (s *Subscription) invalidateIn(conversation im.ID) {
	isIn := func(f *Frame) bool { return f.conversation() == conversation }
	s.mu.Lock()
	some := slices.ContainsFunc(s.queue, isIn) || slices.ContainsFunc(s.batch, isIn)
	s.mu.Unlock()
	if some {
		s.invalidate()
	}
}

// dropQueue empties the queue. The caller holds s.mu.
func (s *Subscription) dropQueue() {
	s.hub.unwritten.release(s.queue...)
	if s.transients > 0 {
		s.hub.opts.Observer.TransientsDropped(s.transients)
	}
	s.queue, s.transients = nil, 0
}

// end ends the stream with a reason, unless it has one already.
func (s *Subscription) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = reason
		s.invalid.Store(true)
		if s.interrupt != nil {
			s.interrupt(reason)
		}
	}
	s.dropQueue()
	s.signal()
}

// interruptible makes end call a function, until interruptible is called with nil. If the stream
// has ended, a call with a function returns the reason instead.
func (s *Subscription) interruptible(by func(reason error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by != nil && s.ended != nil {
		return s.ended
	}
	s.interrupt = by
	return nil
}

// signal wakes Serve or the writer for the stream. The caller holds s.mu.
func (s *Subscription) signal() {
	if p := s.claim(); p != nil {
		p.writer.add(p)
	}
}

// claim wakes Serve, or returns the stream if the caller must give it to its writer. The caller
// holds s.mu.
func (s *Subscription) claim() *pooled {
	if s.pooled == nil {
		select {
		case s.wake <- struct{}{}:
		default:
		}
		return nil
	}
	if s.scheduled {
		return nil
	}
	s.scheduled = true
	return s.pooled
}

// rest ends the turn of the writer, unless there is more to do. It drops the batch, which was
// written.
func (s *Subscription) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clearBatch()
	if s.ended != nil || s.behind || len(s.queue) > 0 {
		return false
	}
	s.scheduled = false
	return true
}

// join makes the dispatcher put frames into the queue again. Serve must read the log up to the
// position that join returns: the dispatcher's, or written if that is greater.
func (s *Subscription) join(written im.Position) im.Position {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = false
	s.dropQueue()
	s.joined = max(s.hub.processed, written)
	return s.joined
}

// take returns the frames to be written next, or whether the stream is behind, or the
// reason why it has ended.
func (s *Subscription) take() (batch []*Frame, behind bool, ended error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalid.Store(false)
	s.clearBatch()
	if s.ended != nil || s.behind {
		return nil, s.behind, s.ended
	}
	s.batch, s.queue, s.transients = s.queue, s.batch, 0 // the two slices alternate
	return s.batch, false, nil
}

// clearBatch empties the batch. It drops a large slice, because most streams are idle most of
// the time. The caller holds s.mu.
func (s *Subscription) clearBatch() {
	s.hub.unwritten.release(s.batch...)
	clear(s.batch)
	if s.batch = s.batch[:0]; cap(s.batch) > 8 {
		s.batch = nil
	}
}

// hold replaces the batch by frames that were read from the log and are held.
func (s *Subscription) hold(batch []*Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub.unwritten.release(s.batch...)
	s.batch = batch
	s.invalid.Store(false)
}

// endedBy returns the reason why the stream has ended by now, nil if it has not.
func (s *Subscription) endedBy(now time.Time) error {
	if !s.expiresAt.IsZero() && !now.Before(s.expiresAt) {
		return ErrTokenExpired
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// settled returns a position up to which the stream has written all of its events, or false if it
// may have unwritten ones.
func (s *Subscription) settled() (im.Position, bool) {
	// Read queued first: events up to it are then in the queue that is checked next.
	queued := im.Position(s.hub.queued.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	return queued, s.ended == nil && !s.behind && len(s.queue) == 0
}
