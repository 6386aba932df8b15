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
	Cursor *Cursor // where the stream begins; nil is now
	// IssuedAt and ExpiresAt are those of the token. Every cut-off ends a token with a
	// zero IssuedAt. A token with a zero ExpiresAt does not expire.
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Subscription is one stream. It is registered with the hub from
// [Hub.Subscribe] until [Subscription.Serve] or [Subscription.Close].
//
// A stream has joined the dispatcher, which then puts frames into its queue, or it is
// behind: then its queue is empty, and Serve reads the log. It falls behind when its queue
// is full or the dispatcher has missed events, and joins again after catching up.
type Subscription struct {
	hub       *Hub
	actor     im.Actor
	cursor    *Cursor
	issuedAt  time.Time
	expiresAt time.Time

	// position is the position up to which all events were written. Only Serve uses it.
	position im.Position

	// wake holds a token when Serve has something to do.
	wake chan struct{}

	closed bool // guarded by hub.mu

	mu     sync.Mutex
	ended  error // the reason; nil while the stream lasts
	behind bool
	// joined is the position of the dispatcher when this stream joined. Later events come
	// by the queue, earlier ones from the log.
	joined im.Position
	// queue are frames for Serve, and batch those that it is writing. Both hold their
	// frames, so that retractions find them.
	queue      []*Frame
	batch      []*Frame
	transients int // how many frames of queue are of transient events
	// transientsLost is the number of the newest transient event that must not be written.
	transientsLost atomic.Uint64
	// invalid says that the rest of batch must not be written, but read from the log
	// again.
	invalid bool
}

// Subscribe registers a stream, which gets all events committed from now on. The caller
// must call [Subscription.Serve] or [Subscription.Close]. Subscribe does not read the log.
// The error is [ErrTooManyStreams], [ErrOverloaded], [ErrTokenCut] or [ErrClosed].
func (h *Hub) Subscribe(sub Subscriber) (*Subscription, error) {
	s := &Subscription{
		hub:       h,
		actor:     sub.Actor,
		cursor:    sub.Cursor,
		issuedAt:  sub.IssuedAt,
		expiresAt: sub.ExpiresAt,
		behind:    sub.Cursor != nil,
		wake:      make(chan struct{}, 1),
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
	// them yet. A client would get events of its own requests that were answered before.
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

// offer puts a frame into the queue, unless the stream is behind or reads the event from
// the log. If the queue is full the stream falls behind.
func (s *Subscription) offer(f *Frame) {
	s.mu.Lock()
	if s.ended != nil || s.behind || f.event.Position <= s.joined {
		s.mu.Unlock()
		return
	}
	full := len(s.queue)-s.transients >= s.hub.opts.QueueSize
	if full {
		s.behind = true
		s.dropQueue()
	} else {
		f.holds.Add(1)
		s.queue = append(s.queue, f)
	}
	s.mu.Unlock()
	s.signal()
	if full {
		s.hub.opts.Observer.StreamsLagged(1)
	}
}

// fallBehind has the stream read all events that it has not written from the log.
func (s *Subscription) fallBehind() {
	s.mu.Lock()
	s.behind = true
	s.dropQueue()
	s.mu.Unlock()
	s.signal()
}

// invalidate has the stream fall behind and not write the rest of its batch. A stream that
// is reading the log finds retractions by itself, see [Hub.retractSince].
func (s *Subscription) invalidate() {
	s.mu.Lock()
	s.behind, s.invalid = true, true
	s.dropQueue()
	s.mu.Unlock()
	s.signal()
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

// isInvalid reports whether the rest of the batch must not be written.
func (s *Subscription) isInvalid() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.invalid
}

// dropQueue empties the queue. The caller holds s.mu.
func (s *Subscription) dropQueue() {
	s.hub.unwritten.release(s.queue...)
	if s.transients > 0 {
		s.hub.opts.Observer.TransientsDropped(s.transients)
	}
	s.queue, s.transients = nil, 0
}

// end has Serve return with a reason, unless it has one already.
func (s *Subscription) end(reason error) {
	s.mu.Lock()
	if s.ended == nil {
		s.ended = reason
	}
	s.dropQueue()
	s.mu.Unlock()
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// join has the dispatcher put frames into the queue again. Serve must read the log up to
// the position that join returns: that of the dispatcher, or written, if that is greater.
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
	s.invalid = false
	s.hub.unwritten.release(s.batch...)
	if s.ended != nil || s.behind {
		s.batch = nil
		return nil, s.behind, s.ended
	}
	// The two slices alternate. A large one is dropped, because most streams are idle
	// most of the time.
	spare := s.batch[:0]
	clear(s.batch)
	if cap(spare) > 8 {
		spare = nil
	}
	s.batch, s.queue, s.transients = s.queue, spare, 0
	return s.batch, false, nil
}

// hold replaces the batch by frames that were read from the log and are held.
func (s *Subscription) hold(batch []*Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub.unwritten.release(s.batch...)
	s.batch, s.invalid = batch, false
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

// settled returns a position up to which there are no events for this stream that it has
// not written. It returns false if there may be some.
func (s *Subscription) settled() (im.Position, bool) {
	// In this order: events up to queued are in the queue when that is looked at.
	queued := im.Position(s.hub.queued.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	return queued, s.ended == nil && !s.behind && len(s.queue) == 0
}
