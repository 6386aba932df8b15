package events

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// membersTimeout bounds the look-up of the members of a conversation, for which all later
// events wait. The time in which the process stands still does not count: it would cost streams a
// transient event.
const membersTimeout = 5 * time.Second

// Hub takes commits from the store and dispatches their events to streams. It is safe for
// concurrent use.
type Hub struct {
	opts  Options
	inbox *inbox

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // closed when the dispatcher has stopped
	// background is the context of streams that writers write.
	background context.Context

	writers     []*writer
	serving     sync.WaitGroup // the streams of the writers
	stopWriters chan struct{}
	writing     sync.WaitGroup // the goroutines of the writers

	// queued is the position up to which all events have been put into the queues of their streams.
	queued atomic.Int64

	retractions retractions
	unwritten   frameIndex
	receipts    *receipts // nil without Options.Deliver

	// recipients belongs to the dispatcher, which reuses it.
	recipients []*Subscription

	mu       sync.Mutex
	closed   bool
	streams  int
	audience *audience
	// processed is the position up to which events were dispatched or are being
	// dispatched. A stream that joins now gets later events through its queue, and must read
	// earlier ones from the log.
	processed im.Position
	// cuts are the cut-offs since cutsSince, and cutsBefore older ones. They are kept for at least
	// cutsKept, because a token may be cut off between the verification of a request and the
	// opening of its stream.
	cuts, cutsBefore map[im.UserID]time.Time
	cutsSince        time.Time
}

// NewHub returns a hub that follows the log from its head on. The caller must pass all later
// commits to [Hub.Publish], and call [Hub.Close] in the end. ctx bounds only the read of the log
// with which NewHub begins; the error is that of the read.
func NewHub(ctx context.Context, opts Options) (*Hub, error) {
	opts = opts.withDefaults()
	bounds, err := opts.Log.LogBounds(im.AtStart(ctx))
	if err != nil {
		return nil, err
	}
	h := &Hub{
		opts:      opts,
		inbox:     newInbox(opts.InboxSize, bounds.Head),
		done:      make(chan struct{}),
		audience:  newAudience(opts.MaxConversations),
		processed: bounds.Head,
		cuts:      make(map[im.UserID]time.Time),
		cutsSince: time.Now(),
		unwritten: newFrameIndex(),

		stopWriters: make(chan struct{}),
	}
	h.queued.Store(int64(bounds.Head))
	h.background = context.WithoutCancel(ctx)
	h.ctx, h.cancel = context.WithCancel(h.background)
	if opts.Deliver != nil {
		h.receipts = newReceipts(opts.Deliver, opts.Logger)
		go h.receipts.run(context.WithoutCancel(ctx))
	}
	for range runtime.GOMAXPROCS(0) {
		w := &writer{hub: h, wake: make(chan struct{}, 1)}
		h.writers = append(h.writers, w)
		h.writing.Go(func() { w.run(h.stopWriters) })
	}
	go h.run()
	return h, nil
}

// Publish passes a commit to the hub. It must be called in the order of commits. It does not block:
// streams read events that do not fit into memory from the log.
func (h *Hub) Publish(c im.Commit) { h.inbox.put(c) }

// Streams returns the number of open streams.
func (h *Hub) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams
}

// Offline returns the users among the given ones who have no open stream.
func (h *Hub) Offline(users []im.UserID) []im.UserID {
	h.mu.Lock()
	defer h.mu.Unlock()
	offline := make([]im.UserID, 0, len(users))
	for _, u := range users {
		if h.audience.users[u] == nil {
			offline = append(offline, u)
		}
	}
	return offline
}

// Lost returns a cursor that is not in the log: a stream that resumes from it begins with
// [Reset].
func (h *Hub) Lost() Cursor { return Cursor{Log: h.opts.LogID + 1} }

// RetryLater returns the body of the response to a stream request that is refused for now. It
// makes an EventSource wait five to ten times Options.Retry before it tries again.
func (h *Hub) RetryLater() []byte {
	least := 5 * h.opts.Retry
	return appendRetry(nil, least+rand.N(least+1)) //nolint:gosec // spreads clients, hides nothing
}

// Close ends all streams. It returns when the dispatcher and the writers have stopped and all
// deliveries were passed to Options.Deliver. Clients resume by their cursors, later or at another
// server.
func (h *Hub) Close() {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	streams := h.all(nil)
	h.mu.Unlock()

	h.inbox.close()
	h.cancel()
	for _, s := range streams {
		s.end(ErrClosed)
	}
	<-h.done
	h.serving.Wait()
	if first {
		close(h.stopWriters)
	}
	h.writing.Wait()
	if h.receipts != nil {
		h.receipts.close()
	}
}

// run is the dispatcher.
func (h *Hub) run() {
	defer close(h.done)
	var d backlog
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

func (h *Hub) dispatch(d backlog) {
	h.cut(d.cuts)
	// Retract first, because dispatching may take long.
	for _, r := range d.retractions {
		h.retract(r)
	}
	events, retractions := applyRetractions(d.events)
	for _, r := range retractions {
		h.retract(r)
	}
	if d.lost {
		h.retractUnknown()
	}
	if d.gap {
		h.fallBack(d.gapHead)
	}
	transients := d.transients
	for i := range events {
		if h.ctx.Err() != nil {
			return
		}
		transients = h.relay(transients, events[i].Position)
		h.enqueue(&events[i])
	}
	h.mu.Lock()
	h.processed = max(h.processed, d.head)
	processed := h.processed
	h.mu.Unlock()
	h.queued.Store(int64(processed))
	h.relay(transients, im.Latest)
	h.blocked(d.blocks) // last, because dispatching may have queued transients of the blocked user
}

// enqueue puts an event into the queues of the streams that get it.
func (h *Hub) enqueue(e *im.Event) {
	if e.Type == im.MessageBurnStarted {
		h.burnAt(e.MessageID, e.BurnAt)
	}
	h.mu.Lock()
	if e.Position <= h.processed {
		h.mu.Unlock()
		return
	}
	// A stream that joins from here on reads this event from the log, so the lock is not
	// needed while members are looked up.
	h.processed = e.Position
	var unchecked []im.UserID
	var last uint64
	online := len(h.audience.users) > 0 && !e.Type.OfWebhooks() // no stream gets those
	if online && e.To == "" {
		unchecked, last = h.audience.unchecked(e)
	}
	h.mu.Unlock()

	if online {
		found, err := h.membersAt(e, unchecked)
		if err != nil {
			h.opts.Logger.Error("recipients of an event not looked up", "error", faults.Text(err), "type", e.Type)
			h.fallBack(e.Position)
			return
		}
		h.offer(e, found, last)
	}
	h.queued.Store(int64(e.Position))
}

func (h *Hub) membersAt(e *im.Event, users []im.UserID) (im.Audience, error) {
	if len(users) == 0 {
		return im.Audience{}, nil
	}
	ctx, cancel := awake.WithTimeout(h.ctx, membersTimeout)
	defer cancel()
	ctx = im.WithCaller(ctx, im.Caller{Job: im.DeliveryJob})
	return h.opts.Log.MembersAt(ctx, e.Conversation, e.Position, users)
}

func (h *Hub) offer(e *im.Event, found im.Audience, last uint64) {
	now := time.Now()
	h.mu.Lock()
	h.recipients = h.audience.recipients(h.recipients[:0], e, found, last, now)
	whole := h.audience.partition(e, h.recipients)
	h.mu.Unlock()
	if e.Type == im.MessageCreated {
		// Users who have hidden the message in the meantime read the event from the log, where it
		// has no message for them.
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

// offerTo encodes an event and offers it to streams.
func (h *Hub) offerTo(streams []*Subscription, e *im.Event) {
	if len(streams) == 0 {
		return
	}
	f := h.newFrame(*e)
	h.unwritten.add(f)
	for _, s := range streams {
		h.collect(s.offer(f))
	}
	h.wakeWriters()
	h.unwritten.release(f)
}

// fallBack makes all streams read the log up to head, because events up to it were missed. It
// forgets the members of all conversations, which those events may have changed.
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
	h.queued.Store(int64(processed))
	h.opts.Observer.StreamsLagged(len(streams))
}

// cut records cut-offs, and ends the streams whose tokens they invalidate.
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

// cutsKept is the minimum time for which a cut-off is kept. It is longer than a request takes from
// its verification to the opening of its stream.
const cutsKept = time.Minute

// isCut reports whether a cut-off invalidates a token: one that was issued before the cut-off, or
// within the leeway after it, because the issuer's clock may be ahead, or that has no issue time.
func (h *Hub) isCut(issued, cut time.Time) bool {
	return issued.IsZero() || !issued.After(cut.Add(h.opts.Leeway))
}

// cutBefore reports whether a recent cut-off invalidates a token. The caller holds h.mu.
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

// position returns the position up to which events were dispatched or are being dispatched.
func (h *Hub) position() im.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.processed
}

// retry returns the block that opens a stream.
func (h *Hub) retry() []byte {
	return appendRetry(nil, h.opts.Retry+rand.N(h.opts.Retry/2+1)) //nolint:gosec // spreads clients, hides nothing
}
