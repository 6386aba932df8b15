package events

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// membersTimeout bounds the look-up of a conversation's members, which all that
// follows waits for.
const membersTimeout = 5 * time.Second

// Hub is between the store and the streams. It is safe for concurrent use.
type Hub struct {
	opts  Options
	inbox *inbox

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // closed when the dispatcher has stopped

	// delivered is the position up to which all events are in the queues of
	// the streams that they are for.
	delivered atomic.Int64

	removals removals
	waiting  waiting
	receipts *receipts // nil if nobody wants any

	// recipients is the dispatcher's own, to be used again.
	recipients []*Subscription

	mu       sync.Mutex
	closed   bool
	streams  int
	audience *audience
	// processed is the position up to which events were dispatched or are just
	// being: a stream that joins now gets what follows, and must read from the
	// log what came before.
	processed im.Position
	// cuts are those of late, and cutsBefore those before them: a stream may be
	// opened with a token that was good when its request came and is not any more.
	// Each cut is kept for longer than a request may take to come so far.
	cuts, cutsBefore map[im.UserID]time.Time
	cutsSince        time.Time
}

// NewHub makes a hub that follows the log from its head on. Everything that is
// committed after this must be told to [Hub.Publish]. It fails if the log
// cannot be read.
func NewHub(ctx context.Context, opts Options) (*Hub, error) {
	opts = opts.withDefaults()
	bounds, err := opts.Log.LogBounds(im.AtStart(ctx))
	if err != nil {
		return nil, err
	}
	h := &Hub{
		opts:      opts,
		inbox:     newInbox(opts.InboxSize),
		done:      make(chan struct{}),
		audience:  newAudience(opts.MaxConversations),
		processed: bounds.Head,
		cuts:      make(map[im.UserID]time.Time),
		cutsSince: time.Now(),
		waiting:   newWaiting(),
	}
	h.delivered.Store(int64(bounds.Head))
	h.ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if opts.Deliver != nil {
		h.receipts = newReceipts(opts.Deliver, opts.Logger)
		go h.receipts.run(context.WithoutCancel(ctx))
	}
	go h.run()
	return h, nil
}

// Publish tells the hub of a commit, in the order of commits. It does not
// block. What does not fit into memory reaches the streams from the log.
func (h *Hub) Publish(c im.Commit) { h.inbox.put(c) }

// Streams returns how many streams are open.
func (h *Hub) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams
}

// Lost returns a cursor that is not in the log: a stream that resumes from it begins with
// [Reset].
func (h *Hub) Lost() Cursor { return Cursor{Log: h.opts.LogID + 1} }

// RetryLater returns a line to answer a stream request with that was refused
// with [ErrOverloaded] or [ErrClosed]: it has the client come again after five
// to ten times as long as usual.
func (h *Hub) RetryLater() []byte {
	least := 5 * h.opts.Retry
	return appendRetry(nil, least+rand.N(least+1)) //nolint:gosec // spreads clients, hides nothing
}

// Close ends all streams and returns when nothing is dispatched any more and
// what was told by now has been handed to Options.Deliver. Clients resume by
// their cursors, elsewhere or later.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	streams := h.all(nil)
	h.mu.Unlock()

	h.inbox.close()
	h.cancel()
	for _, s := range streams {
		s.end(ErrClosed)
	}
	<-h.done
	if h.receipts != nil {
		h.receipts.close()
	}
}

// run is the dispatcher.
func (h *Hub) run() {
	defer close(h.done)
	var d delivery
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.inbox.wake:
		}
		d = h.inbox.take(d)
		h.dispatch(d)
	}
}

func (h *Hub) dispatch(d delivery) {
	h.cut(d.cuts)
	// First, for the rest may take its time.
	for _, r := range d.removals {
		h.remove(r)
	}
	events, removals := removeEarlier(d.events)
	for _, r := range removals {
		h.remove(r)
	}
	if d.lost {
		h.removeUnknown()
	}
	if d.gap {
		h.fallBack(d.gapHead)
	}
	for i := range events {
		if h.ctx.Err() != nil {
			return
		}
		h.tell(&events[i])
	}
	h.mu.Lock()
	h.processed = max(h.processed, d.head)
	processed := h.processed
	h.mu.Unlock()
	h.delivered.Store(int64(processed))
}

// tell puts an event into the queues of the streams that it is for.
func (h *Hub) tell(e *im.Event) {
	if e.Type == im.MessageBurnStarted {
		h.hasten(e.MessageID, e.BurnAt)
	}
	h.mu.Lock()
	if e.Position <= h.processed {
		h.mu.Unlock()
		return
	}
	// Whoever joins from here on reads this event from the log, so the lock
	// may go while the members are looked up.
	h.processed = e.Position
	var unchecked []im.UserID
	var last uint64
	online := len(h.audience.users) > 0
	if online && e.To == "" {
		unchecked, last = h.audience.unchecked(e)
	}
	h.mu.Unlock()

	if online {
		found, err := h.membersAt(e, unchecked)
		if err != nil {
			h.opts.Logger.Error("look up who is told an event", "error", faults.Text(err), "type", e.Type)
			h.fallBack(e.Position)
			return
		}
		h.offer(e, found, last)
	}
	h.delivered.Store(int64(e.Position))
}

func (h *Hub) membersAt(e *im.Event, users []im.UserID) (im.Audience, error) {
	if len(users) == 0 {
		return im.Audience{}, nil
	}
	ctx, cancel := context.WithTimeout(h.ctx, membersTimeout)
	defer cancel()
	ctx = im.WithCaller(ctx, im.Caller{Job: im.DeliveryJob})
	return h.opts.Log.MembersAt(ctx, e.Conversation, e.Position, users)
}

func (h *Hub) offer(e *im.Event, found im.Audience, last uint64) {
	now := time.Now()
	h.mu.Lock()
	h.recipients = h.audience.told(h.recipients[:0], e, found, last, now)
	whole := h.audience.latecomers(e, h.recipients)
	h.mu.Unlock()
	if e.Type == im.MessageCreated {
		// Whoever has hidden it since gets it without its message, which is what the
		// log has for them.
		for _, user := range e.HiddenBy {
			for _, s := range h.streamsOf(user) {
				s.fallBehind()
			}
		}
	}
	defer clear(h.recipients)
	h.offerTo(h.recipients[:whole], e)
	if whole < len(h.recipients) {
		part := *e
		part.Activity = nil
		h.offerTo(h.recipients[whole:], &part)
	}
}

// offerTo encodes an event once for all of these streams.
func (h *Hub) offerTo(streams []*Subscription, e *im.Event) {
	if len(streams) == 0 {
		return
	}
	f, err := h.newFrame(*e)
	if err != nil {
		h.unencodable(e, err)
		return
	}
	h.waiting.add(f)
	for _, s := range streams {
		s.offer(f)
	}
	h.waiting.release(f)
}

// unencodable gives up on an event: a stream that ended because of it would
// come back to it for ever.
func (h *Hub) unencodable(e *im.Event, err error) {
	h.opts.Logger.Error("encode an event", "error", faults.Text(err), "type", e.Type)
}

// fallBack has every stream read the log up to head, and forgets what is known
// of conversations, for somebody may have come or gone in what was missed.
func (h *Hub) fallBack(head im.Position) {
	h.mu.Lock()
	h.processed = max(h.processed, head)
	processed := h.processed
	h.audience.forget()
	streams := h.all(nil)
	h.mu.Unlock()

	for _, s := range streams {
		s.fallBehind()
	}
	h.delivered.Store(int64(processed))
	h.opts.Observer.StreamsLagged(len(streams))
}

// cut ends the streams of users whose tokens were cut off.
func (h *Hub) cut(cuts map[im.UserID]time.Time) {
	if len(cuts) == 0 {
		return
	}
	var ended []*Subscription
	h.mu.Lock()
	if time.Since(h.cutsSince) > cutsKept {
		h.cuts, h.cutsBefore, h.cutsSince = make(map[im.UserID]time.Time), h.cuts, time.Now()
	}
	for id, at := range cuts {
		if at.After(h.cuts[id]) {
			h.cuts[id] = at
		}
		if u := h.audience.users[id]; u != nil {
			for _, s := range u.streams {
				if h.isCut(s.issuedAt, at) {
					ended = append(ended, s)
				}
			}
		}
	}
	h.mu.Unlock()
	for _, s := range ended {
		s.end(ErrTokenCut)
	}
}

// cutsKept is how long a cut is kept at least: longer than the whole of a request may
// take to come.
const cutsKept = time.Minute

// isCut reports whether a token issued then, or without saying when, is no good
// after a cut at this time. It may have been made before the cut, by a clock that was
// ahead.
func (h *Hub) isCut(issued, cut time.Time) bool {
	return issued.IsZero() || !issued.After(cut.Add(h.opts.Leeway))
}

// cutBefore reports whether a token issued then was cut off of late. The caller holds
// h.mu.
func (h *Hub) cutBefore(user im.UserID, issued time.Time) bool {
	for _, cuts := range []map[im.UserID]time.Time{h.cuts, h.cutsBefore} {
		if at, ok := cuts[user]; ok && h.isCut(issued, at) {
			return true
		}
	}
	return false
}

// all appends every stream to dst. The caller holds h.mu.
func (h *Hub) all(dst []*Subscription) []*Subscription {
	for _, u := range h.audience.users {
		dst = append(dst, u.streams...)
	}
	return dst
}

// position returns how far the log was dispatched.
func (h *Hub) position() im.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.processed
}

// retry returns the block that opens a stream.
func (h *Hub) retry() []byte {
	return appendRetry(nil, h.opts.Retry+rand.N(h.opts.Retry/2+1)) //nolint:gosec // spreads clients, hides nothing
}
