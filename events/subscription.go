package events

import (
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// Subscriber is who opens a stream.
type Subscriber struct {
	Actor im.Actor
	// Cursor is where the client left off; nil begins now.
	Cursor *Cursor
	// IssuedAt and ExpiresAt are of the token. The zero IssuedAt is cut off by
	// every cut, the zero ExpiresAt never expires.
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Subscription is one stream. It is registered with the hub from
// [Hub.Subscribe] until [Subscription.Serve] or [Subscription.Close].
//
// It is either joined, when the dispatcher puts frames into its queue, or
// behind, when it reads the log by itself and has no queue. It is moved behind
// by the dispatcher, when its queue is full or the dispatcher itself has missed
// something, and joins again when it has caught up.
type Subscription struct {
	hub       *Hub
	actor     im.Actor
	cursor    *Cursor
	issuedAt  time.Time
	expiresAt time.Time

	// position is up to where this stream was told everything. It belongs to
	// Serve.
	position im.Position

	// wake holds a token when there is something for Serve to look at.
	wake chan struct{}

	closed bool // guarded by hub.mu

	mu     sync.Mutex
	ended  error // why it has; nil while it lasts
	behind bool
	// joined is the position that the dispatcher had reached when this stream
	// joined: what follows comes by the queue, the rest is read from the log.
	joined im.Position
	queue  []*Frame
	// batch is what Serve is writing. This and the queue hold their frames,
	// for what was not yet written may still have to be replaced.
	batch []*Frame
	// outdated says that the rest of batch must not be written, but read from
	// the log again.
	outdated bool
}

// Subscribe registers a stream, which must be ended by [Subscription.Serve] or
// [Subscription.Close]. From here on no event for it is missed. It does not
// read the log. The error is [ErrTooManyStreams], [ErrOverloaded],
// [ErrTokenCut] or [ErrClosed].
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
	// What was committed before is not for this stream, though the hub may not have come
	// so far: a client would get what it was answered before it opened the stream.
	s.joined = max(h.processed, head)
	s.position = s.joined
	h.audience.add(s)
	h.streams++
	h.opts.Observer.StreamsOpen(h.streams)
	return s, nil
}

// Close takes the stream from the hub. It may be called more than once.
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

// offer puts a frame into the queue, if the stream takes frames and this one
// is not among what it reads from the log.
func (s *Subscription) offer(f *Frame) {
	s.mu.Lock()
	if s.ended != nil || s.behind || f.event.Position <= s.joined {
		s.mu.Unlock()
		return
	}
	full := len(s.queue) >= s.hub.opts.QueueSize
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

// fallBehind has the stream read from the log what it was not yet told.
func (s *Subscription) fallBehind() {
	s.mu.Lock()
	s.behind = true
	s.dropQueue()
	s.mu.Unlock()
	s.signal()
}

// outdate has the stream fall behind and not even write what it has begun to.
// If it is just reading from the log it finds that out by itself, see
// [Hub.removeSince].
func (s *Subscription) outdate() {
	s.mu.Lock()
	s.behind, s.outdated = true, true
	s.dropQueue()
	s.mu.Unlock()
	s.signal()
}

// outdateIn does so if something about a message of the conversation waits.
func (s *Subscription) outdateIn(conversation im.ID) {
	waits := func(f *Frame) bool { return f.place() == conversation }
	s.mu.Lock()
	some := slices.ContainsFunc(s.queue, waits) || slices.ContainsFunc(s.batch, waits)
	s.mu.Unlock()
	if some {
		s.outdate()
	}
}

// isOutdated reports whether the rest of the batch must not be written.
func (s *Subscription) isOutdated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outdated
}

// dropQueue empties the queue. The caller holds s.mu.
func (s *Subscription) dropQueue() {
	s.hub.waiting.release(s.queue...)
	s.queue = nil
}

// end has Serve return, and with what.
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

// join has the dispatcher put frames into the queue again. Serve must read the
// log up to the position that it returns, which is that of the dispatcher, or
// told if the stream has come further than that.
func (s *Subscription) join(told im.Position) im.Position {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = false
	s.dropQueue()
	s.joined = max(s.hub.processed, told)
	return s.joined
}

// take returns the frames to be written next, or whether the stream is behind,
// or why it has ended.
func (s *Subscription) take() (batch []*Frame, behind bool, ended error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outdated = false
	s.hub.waiting.release(s.batch...)
	if s.ended != nil || s.behind {
		s.batch = nil
		return nil, s.behind, s.ended
	}
	// The two slices take turns, unless one has grown: then it goes, for most
	// streams are idle most of the time.
	spare := s.batch[:0]
	clear(s.batch)
	if cap(spare) > 8 {
		spare = nil
	}
	s.batch, s.queue = s.queue, spare
	return s.batch, false, nil
}

// hold makes frames that were read from the log, and are held, the batch.
func (s *Subscription) hold(batch []*Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub.waiting.release(s.batch...)
	s.batch, s.outdated = batch, false
}

// endedBy returns why the stream has ended by now, nil if it has not.
func (s *Subscription) endedBy(now time.Time) error {
	if !s.expiresAt.IsZero() && !now.Before(s.expiresAt) {
		return ErrTokenExpired
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// settled returns the position up to which there is nothing left to tell, if
// nothing waits.
func (s *Subscription) settled() (im.Position, bool) {
	// In this order: what is delivered by now is in the queue by then.
	delivered := im.Position(s.hub.delivered.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	return delivered, s.ended == nil && !s.behind && len(s.queue) == 0
}
