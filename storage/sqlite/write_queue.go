package sqlite

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// maxBatch is the maximum number of calls in a transaction.
	maxBatch = 256
	// maxBatchTime is the duration after which a batch ends, so that quick calls at its front do
	// not wait for the commit until long ones behind them have run.
	maxBatchTime = 50 * time.Millisecond
	// longCall is the duration of a call that ends its batch. The next call of the same
	// caller is treated as a bulk call. A batch of bulk calls ends after that time.
	longCall = 10 * time.Millisecond

	// maxQueue is the maximum number of waiting calls, and maxOwn that of calls of one caller.
	maxQueue = 4096
	maxOwn   = 256
	// maxWait is the longest time that a call of a user waits, unless it is a bulk call. It is
	// shorter than the 10 s after which clients give up. The time in which the process stands still
	// does not count: the writer stands still, too, so the queue is no longer than before.
	maxWait = 5 * time.Second
	// retryAfter is the Retry-After for callers that are refused because of these limits.
	retryAfter = time.Second

	// maxAhead is how much more time than the other waiting callers a caller may have used and
	// still share a transaction with them.
	maxAhead = 10 * time.Millisecond
	// maxDebt bounds the time held against a caller. Without it, a caller that once used much time
	// might wait forever while others keep coming.
	maxDebt = 250 * time.Millisecond

	// idleAccounts is the number of accounts beyond which unneeded ones are deleted.
	idleAccounts = 1024
)

// call is a call of Write.
type call struct {
	ctx  context.Context
	fn   func(im.Tx) error
	err  error      // the result of fn, returned once the transaction is committed
	done chan error // the result of Write; buffered, so that sending it does not block

	bulk  bool
	order uint64        // its sequence number among all calls
	took  time.Duration // the time that fn ran
	state atomic.Int32  // waiting, begun or withdrawn
}

// The states of a call.
const (
	waiting = iota
	begun
	withdrawn
)

func (c *call) answer(err error) { c.done <- err }

// begin reports whether the call may run, or run again after a rollback. It may not if it was
// withdrawn.
func (c *call) begin() bool {
	return c.state.CompareAndSwap(waiting, begun) || c.state.Load() == begun
}

// withdraw keeps the call from running, and reports whether it could. The call stays in the queue
// until its turn.
func (c *call) withdraw() bool { return c.state.CompareAndSwap(waiting, withdrawn) }

// waitsLong reports whether the call may wait without a limit: a job waits for its turn, and so does
// a step of a long request, which must not stop in the middle.
func (c *call) waitsLong() bool { return c.bulk || im.CallerOf(c.ctx).User == "" }

// account is a caller with their waiting calls and the writer's time that they have used.
type account struct {
	caller im.Caller
	calls  []*call // in order
	// used is the caller's virtual time in each lane.
	used [lanes]time.Duration
	long bool // the previous call took longCall or more
	// turn is the virtual start time of the first call in its lane.
	turn time.Duration
	// at is the index in the lane's heap, -1 if the account is not in it: it has no waiting
	// call, or a batch holds it.
	at   int
	held bool
}

// turns is a heap of accounts by turn.
type turns []*account

func (t turns) Len() int { return len(t) }

func (t turns) Less(i, j int) bool {
	if t[i].turn != t[j].turn {
		return t[i].turn < t[j].turn
	}
	return t[i].calls[0].order < t[j].calls[0].order
}

func (t turns) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].at, t[j].at = i, j
}

// Push and Pop implement heap.Interface.
func (t *turns) Push(a any) {
	a.(*account).at = len(*t)
	*t = append(*t, a.(*account))
}

func (t *turns) Pop() any {
	last := len(*t) - 1
	a := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	a.at = -1
	return a
}

// The lanes in which callers wait.
const (
	light = iota
	bulk
	lanes
)

// lane holds waiting callers by the turn of their first call. Its own turn is the lane's virtual
// time: at least the turn of the first call of the newest batch. A new caller starts there, or at
// their own virtual time if that is later.
type lane struct {
	turns
	turn time.Duration
}

// queue holds the calls that wait for the writer, in order for each caller. It is fair by
// start-time fair queueing: the writer's time that a caller uses puts them behind other
// waiting callers. So a caller with a thousand calls, or with long ones, mostly delays
// themselves. When no call waits, all accounts are deleted.
//
// Bulk calls have their own lane and transactions, which alternate with those of the other
// lane, because there may be many callers with one bulk call each.
type queue struct {
	now func() time.Time
	// ready is buffered. It signals waiting calls, and the closing of the queue.
	ready chan struct{}

	mu      sync.Mutex
	closed  bool
	waiting int    // calls
	order   uint64 // sequence number of the next call
	// accounts holds callers with waiting calls, or with more used time than others. The
	// zero [im.Caller] is not charged.
	accounts map[im.Caller]*account
	sweepAt  int
	lanes    [lanes]lane
	lastLane int // the lane of the last batch

	door door
}

func newQueue(now func() time.Time) *queue {
	return &queue{now: now, ready: make(chan struct{}, 1), accounts: make(map[im.Caller]*account), sweepAt: idleAccounts, door: newDoor()}
}

// add queues a call, or refuses it.
func (q *queue) add(ctx context.Context, fn func(im.Tx) error) (*call, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	caller := im.CallerOf(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, unavailable(errClosed)
	}
	if q.waiting >= maxQueue {
		return nil, errOverloaded
	}
	a := q.accounts[caller]
	if a == nil {
		a = &account{caller: caller, at: -1}
		q.accounts[caller] = a
	}
	if len(a.calls) >= maxOwn && caller != (im.Caller{}) {
		return nil, errTooManyOwn
	}
	c := &call{ctx: ctx, fn: fn, done: make(chan error, 1), bulk: im.IsBulk(ctx), order: q.order}
	q.order++
	q.waiting++
	a.calls = append(a.calls, c)
	if a.at < 0 && !a.held {
		q.enqueue(a)
	}
	q.signal()
	return c, nil
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// close makes further calls fail.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.door.open(q.door.line.Len(), time.Now())
	q.signal()
}

// len returns the number of waiting calls, and whether the queue is open.
func (q *queue) len() (waiting int, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting, !q.closed
}

// lane returns the lane in which an account waits.
func (a *account) lane() int {
	if a.calls[0].bulk || a.long {
		return bulk
	}
	return light
}

// enqueue adds an account with calls to its lane.
func (q *queue) enqueue(a *account) {
	l := &q.lanes[a.lane()]
	a.turn = max(l.turn, a.used[a.lane()])
	heap.Push(l, a)
}

// charge advances the virtual time of a caller by the duration of a call. The account must
// not be in a lane.
func (q *queue) charge(a *account, in int, took time.Duration) {
	if a.caller == (im.Caller{}) {
		return
	}
	a.used[in] = min(a.turn+took, q.lanes[in].turn+maxDebt)
	a.long = took >= longCall
}

// release returns an account that a batch has held.
func (q *queue) release(a *account) {
	a.held = false
	if len(a.calls) > 0 {
		q.enqueue(a)
		return
	}
	a.calls = nil
	switch {
	case q.waiting == 0:
		clear(q.accounts)
		q.lanes = [lanes]lane{}
	case len(q.accounts) > q.sweepAt:
		for _, a := range q.accounts {
			q.forget(a)
		}
		q.sweepAt = max(idleAccounts, 2*len(q.accounts))
	default:
		q.forget(a)
	}
}

// forget deletes an account that has no calls and is not ahead of the lanes.
func (q *queue) forget(a *account) {
	if len(a.calls) == 0 && !a.held && a.used[light] <= q.lanes[light].turn && a.used[bulk] <= q.lanes[bulk].turn {
		delete(q.accounts, a.caller)
	}
}

// batch is the calls that a transaction takes from a lane: those that waited when it began.
type batch struct {
	*queue
	in    int // the lane
	began time.Time
	end   uint64 // sequence number of the first later call
	calls int
	used  time.Duration // by these calls

	running *account // the account of the last call taken
	last    *call    // the last call taken
	aside   []*account
}

// batch begins a batch in the next lane.
func (q *queue) batch() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	in := (q.lastLane + 1) % lanes
	if len(q.lanes[in].turns) == 0 {
		in = q.lastLane
	}
	q.lastLane = in
	l := &q.lanes[in]
	if len(l.turns) > 0 {
		l.turn = max(l.turn, l.turns[0].turn)
	}
	return &batch{queue: q, in: in, began: q.now(), end: q.order}
}

// next returns the next call to run, nil if the transaction should end. The previous call
// must have run.
func (b *batch) next() *call {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	most := maxBatchTime
	if b.in == bulk {
		most = longCall
	}
	if b.last != nil && (b.last.took >= longCall || b.now().Sub(b.began) > most) || b.calls == maxBatch {
		return nil
	}
	l := &b.lanes[b.in]
	for len(l.turns) > 0 {
		a := l.turns[0]
		if a.turn > l.turn+maxAhead {
			return nil
		}
		heap.Pop(l)
		a.held = true
		if a.calls[0].order >= b.end {
			b.aside = append(b.aside, a)
			continue
		}
		return b.take(a)
	}
	return nil
}

func (b *batch) take(a *account) *call {
	c := a.calls[0]
	a.calls[0] = nil
	a.calls = a.calls[1:]
	b.waiting--
	b.calls++
	b.running, b.last = a, c
	return c
}

// settle charges the caller of the previous call, if that was not done yet.
func (b *batch) settle() {
	if b.running != nil {
		b.used += b.last.took
		b.charge(b.running, b.in, b.last.took)
		b.release(b.running)
		b.running = nil
	}
}

// close ends the batch.
func (b *batch) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	// If calls remain whose turn it was, each waiting caller has lost an equal share of the
	// batch's time. The lane's turn advances by that share, so that new callers start
	// behind the ones ahead, which are then reached even if new callers keep coming.
	if l := &b.lanes[b.in]; len(l.turns) > 0 && l.turns[0].turn <= l.turn+maxAhead {
		l.turn += b.used / time.Duration(len(l.turns)+len(b.aside))
	}
	if b.last != nil && b.last.took >= longCall {
		b.lastLane = bulk // even if the batch was in the other lane
	}
	for _, a := range b.aside {
		b.release(a)
	}
	b.letIn()
	if b.waiting > 0 || b.closed {
		b.signal()
	}
}
