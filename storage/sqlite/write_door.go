package sqlite

import (
	"container/list"
	"context"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// crowded is the number of waiting calls from which requests wait at the door: two full
	// batches, so that the writer always has the next one.
	crowded = 2 * maxBatch
	// overcrowded is the number from which all requests do.
	overcrowded = 4 * crowded
	// doorWait is the longest that a request waits at the door.
	doorWait = time.Second
	// maxLine is the maximum number of requests at the door, maxOwnLine that of one caller.
	maxLine    = 8192
	maxOwnLine = 64
)

// door is where requests wait while the queue is crowded, before they cost anything. Under
// overload a server that takes every request spends most of its processor time on requests
// that it refuses at their end, and one that refuses all at once spends it on refusals: a
// refusal costs a quarter of a send. Waiting costs nothing, and meanwhile the connection can
// send no other request.
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

// leave removes a guest.
func (d *door) leave(e *list.Element) *guest {
	g := d.line.Remove(e).(*guest)
	if d.guests[g.caller]--; d.guests[g.caller] == 0 {
		delete(d.guests, g.caller)
	}
	return g
}

// admit waits until a request of a caller may begin. It returns errOverloaded if that takes
// too long, or too many wait, or the context's cause.
//
// Until the queue is overcrowded, a caller who has no call in it and has not had more than their
// share of the writer does not wait, whoever crowds it.
func (q *queue) admit(ctx context.Context, caller im.Caller) error {
	q.mu.Lock()
	if q.closed || q.waiting < crowded && q.door.line.Len() == 0 { // add refuses when it is closed
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
	case <-g.in: // at the last moment
		return nil
	default:
	}
	q.door.leave(mine)
	return err
}

// letIn lets in as many requests as the queue has room for. Those that were let in before may
// still be on their way, so that the queue has up to twice as many calls; it holds more.
func (q *queue) letIn() {
	n := crowded - q.waiting
	if q.waiting == 0 {
		n = maxLine // there may be no other batch
	}
	q.door.open(n)
}
