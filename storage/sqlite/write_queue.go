package sqlite

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// maxBatch is the most calls that share a transaction.
	maxBatch = 256
	// maxBatchTime ends a batch early: those whose writes were quick are not to
	// wait for the commit until the long ones behind them have run, too.
	maxBatchTime = 50 * time.Millisecond
	// longCall is how long a call takes that ends its batch. The next one of its
	// caller is taken for a bulk call. A batch of bulk calls ends after that time.
	longCall = 10 * time.Millisecond

	// maxQueue is the most calls that wait, and maxOwn the most of one caller.
	maxQueue = 4096
	maxOwn   = 256
	// retryAfter is when to come again who was refused because of these.
	retryAfter = time.Second

	// maxAhead is how much more of the writer's time a caller may use than those who
	// wait and still be in a transaction with them.
	maxAhead = 10 * time.Millisecond
	// mostAhead is the most that is held against a caller: nobody waits for ever who
	// once used much, while others keep coming.
	maxDebt = 250 * time.Millisecond

	// idleAccounts is how many accounts are kept before it is looked which of them
	// are of no more use.
	idleAccounts = 1024
)

// call is one call of Write.
type call struct {
	ctx  context.Context
	fn   func(im.Tx) error
	err  error      // what fn said, told once the transaction has ended well
	done chan error // the answer; holds one, so that nobody waits to give it

	bulk  bool
	order uint64        // among all calls
	took  time.Duration // how long fn ran
}

func (c *call) answer(err error) { c.done <- err }

// account is a caller with their calls that wait, and with what they used of the
// writer's time.
type account struct {
	caller im.Caller
	calls  []*call // in their order
	// used is for each lane the turn that the caller has come to.
	used [lanes]time.Duration
	long bool // the last call was one
	// turn is that of the first call in its lane.
	turn time.Duration
	// at is the place in the lane, -1 if it is not there: because no call waits, or
	// because a batch holds it.
	at   int
	held bool
}

// turns are accounts by their turn; it is a heap.
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

// Push and Pop are for package heap.
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

// lane is where callers wait by the turn of their first call. Its own turn is that
// of the call that was taken last; a caller who comes stands there, or where their
// own use of the writer has brought them.
type lane struct {
	turns
	turn time.Duration
}

// queue holds the calls that wait for the writer, those of each caller in their
// order. It is fair by start-time fair queueing: what a caller uses of the writer's
// time is what they stand behind others who have come. So a caller with a thousand
// calls, or with long ones, delays themselves and hardly anybody else. Once nobody
// waits all is forgotten.
//
// Bulk calls have a lane and transactions of their own, in turn with those of the
// others: for there may be many callers with one each.
type queue struct {
	now func() time.Time
	// ready holds one while calls wait, and once the queue was closed.
	ready chan struct{}

	mu      sync.Mutex
	closed  bool
	waiting int    // calls
	order   uint64 // of the next call
	// accounts are those that have calls, or have used more than others. The zero
	// [im.Caller] is not charged.
	accounts map[im.Caller]*account
	sweepAt  int
	lanes    [lanes]lane
	lastLane int // of the batch before
}

func newQueue(now func() time.Time) *queue {
	return &queue{now: now, ready: make(chan struct{}, 1), accounts: make(map[im.Caller]*account), sweepAt: idleAccounts}
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

// close refuses what comes from now on.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// len returns how many calls wait, and whether more can come.
func (q *queue) len() (waiting int, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting, !q.closed
}

// lane is the one in which an account waits.
func (a *account) lane() int {
	if a.calls[0].bulk || a.long {
		return bulk
	}
	return light
}

// place puts an account that has calls among those that wait.
func (q *queue) enqueue(a *account) {
	l := &q.lanes[a.lane()]
	a.turn = max(l.turn, a.used[a.lane()])
	heap.Push(l, a)
}

// charge moves a caller on by what a call took, which is not among those that wait.
func (q *queue) charge(a *account, in int, took time.Duration) {
	if a.caller == (im.Caller{}) {
		return
	}
	a.used[in] = min(a.turn+took, q.lanes[in].turn+maxDebt)
	a.long = took >= longCall
}

// release puts an account back that was held by a batch.
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

// forget removes an account without calls that is not ahead of anybody.
func (q *queue) forget(a *account) {
	if len(a.calls) == 0 && !a.held && a.used[light] <= q.lanes[light].turn && a.used[bulk] <= q.lanes[bulk].turn {
		delete(q.accounts, a.caller)
	}
}

// batch is what one transaction takes from a lane: what was there when it began.
type batch struct {
	*queue
	in    int // the lane
	began time.Time
	end   uint64 // the order of the first call that came later
	calls int
	used  time.Duration // by them

	running *account // the account of the last call that was taken
	last    *call    // that call
	aside   []*account
}

// batch begins one, of the lane whose turn it is.
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

// next returns the call that is to run next, nil if the transaction is to end. The
// one before has run.
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

// settle charges the caller of the last call.
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
	// If it could not take all whose turn it was, each of those who wait has lost an
	// equal part of its time: so who comes next stands behind that, and those are
	// reached who are ahead, however many others keep coming.
	if l := &b.lanes[b.in]; len(l.turns) > 0 && l.turns[0].turn <= l.turn+maxAhead {
		l.turn += b.used / time.Duration(len(l.turns)+len(b.aside))
	}
	if b.last != nil && b.last.took >= longCall {
		b.lastLane = bulk // also if it was not known to be one
	}
	for _, a := range b.aside {
		b.release(a)
	}
	if b.waiting > 0 || b.closed {
		b.signal()
	}
}
