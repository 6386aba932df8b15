package sqlite

import (
	"container/list"
	"context"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// crowded is the number of waiting calls from which on requests wait at the door: two full
	// batches, so that the writer always has a next one.
	crowded = 2 * maxBatch
	// overcrowded is the number from which on all requests wait there.
	overcrowded = 4 * crowded
	// doorWait is the longest time that a request waits at the door.
	doorWait = time.Second
	// maxLine is the maximum number of requests at the door, and maxOwnLine that of requests of one
	// caller.
	maxLine    = 8192
	maxOwnLine = 64
)

// door holds requests back while the queue is crowded, before they cost anything. Under overload, a
// server that accepts every request spends most of its processor time on requests that it refuses
// in the end, and one that refuses at once spends it on refusals: a refusal costs a quarter of a
// send. Waiting costs nothing, and a waiting connection can send no other request.
//
// Its fields are guarded by the mutex of the queue.
type door struct {
	line   list.List // of *guest, by arrival
	guests map[im.Caller]int
}

// guest is a request at the door.
type guest struct {
	caller im.Caller
	in     chan struct{} // closed when it may begin
}

func newDoor() door { return door{guests: make(map[im.Caller]int)} }

// open lets the first requests in, at most n.
func (d *door) open(n int) {
	for ; n > 0 && d.line.Len() > 0; n-- {
		close(d.leave(d.line.Front()).in)
	}
}

// leave removes a guest that gives up.
func (d *door) leave(e *list.Element) *guest {
	g := d.line.Remove(e).(*guest)
	if d.guests[g.caller]--; d.guests[g.caller] == 0 {
		delete(d.guests, g.caller)
	}
	return g
}

// admit waits until a request of a caller may begin. It returns errOverloaded if that takes too
// long or too many requests wait, or the context's cause.
//
// Until the queue is overcrowded, a caller without a call in it who has not used more than their
// share of the writer does not wait, however many calls of others do.
func (q *queue) admit(ctx context.Context, caller im.Caller) error {
	q.mu.Lock()
	if q.closed || q.waiting < crowded && q.door.line.Len() == 0 { // if the queue is closed, add refuses
		q.mu.Unlock()
		return nil
	}
	a := q.accounts[caller]
	had := a != nil && (len(a.calls) > 0 || a.used[light] > q.lanes[light].turn)
	switch {
	case !had && q.waiting < overcrowded:
		q.mu.Unlock()
		return nil
	case q.door.line.Len() >= maxLine || q.door.guests[caller] >= maxOwnLine:
		q.mu.Unlock()
		return errOverloaded
	}
	g := &guest{caller, make(chan struct{})}
	mine := q.door.line.PushBack(g)
	q.door.guests[caller]++
	q.mu.Unlock()

	timer := time.NewTimer(doorWait)
	defer timer.Stop()
	var err error
	select {
	case <-g.in:
		return nil
	case <-timer.C:
		err = errOverloaded
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-g.in: // it was let in at the last moment
		return nil
	default:
	}
	q.door.leave(mine)
	return err
}

// letIn lets in as many requests as the queue has room for before it is crowded. Requests that were
// let in before may not have queued their calls yet, so the queue may get up to twice as many; it
// has room for more.
func (q *queue) letIn() {
	n := crowded - q.waiting
	if q.waiting == 0 {
		n = maxLine // no further batch may come to let the others in
	}
	q.door.open(n)
}
