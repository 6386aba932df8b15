package sqlite

import (
	"container/list"
	"context"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// crowded is the number of waiting calls at which requests begin to wait at the door: two full
	// batches, so that the writer always has a next one.
	crowded = 2 * maxBatch
	// overcrowded is the number of waiting calls at which every request waits there.
	overcrowded = 4 * crowded
	// doorWait is how long a request waits at the door before it may be refused, and
	// longestDoorWait how long before it is refused in any case.
	doorWait        = time.Second
	longestDoorWait = 3 * time.Second
	// doorPause is the time that requests have to reach an empty queue after they were let in.
	doorPause = 20 * time.Millisecond
	// perRefusal is how many requests are let in for each one that is refused before
	// longestDoorWait, and mostRefusals how many of these are refused at once.
	perRefusal   = 4
	mostRefusals = maxBatch / perRefusal
	maxLine      = 16384 // requests at the door
	maxOwnLine   = 64    // those of one caller
)

// door is the admission control of the queue: while the queue is crowded, requests wait here
// before they cost anything. Under overload, a server that admits every request spends most of its
// processor time on requests that it refuses at their end. A server that refuses them at once
// spends it on refusals: each costs a quarter of a send, and clients that ignore Retry-After repeat
// their request immediately. Waiting costs nothing, and the connection of a waiting request can
// send no other. So refusals are rationed while requests are let in: most of the requests that
// could be refused wait longer instead, and are let in after all.
//
// Its fields are guarded by the mutex of the queue.
type door struct {
	line    list.List // of *guest, by arrival
	guests  map[im.Caller]int
	opened  time.Time // when a request was last let in
	credit  int       // the number of requests let in that no refusal was counted against
	looking bool      // letIn will be called in doorPause
}

// guest is a request at the door.
type guest struct {
	caller   im.Caller
	came     time.Time
	answered chan struct{} // closed when it may begin or is refused
	err      error         // why it is refused
}

func newDoor() door { return door{guests: make(map[im.Caller]int)} }

// open lets in the first n requests. Of the next ones, it refuses as many as the credit allows, if
// they have waited for doorWait.
func (d *door) open(n int, now time.Time) {
	for ; n > 0 && d.line.Len() > 0; n-- {
		d.answer(nil)
		d.opened = now
		d.credit = min(d.credit+1, mostRefusals*perRefusal)
	}
	for d.credit >= perRefusal && d.line.Len() > 0 && now.Sub(d.line.Front().Value.(*guest).came) >= doorWait {
		d.answer(errOverloaded)
		d.credit -= perRefusal
	}
}

// answer lets the first request in, or refuses it.
func (d *door) answer(err error) {
	g := d.leave(d.line.Front())
	g.err = err
	close(g.answered)
}

// leave removes a guest from the line.
func (d *door) leave(e *list.Element) *guest {
	g := d.line.Remove(e).(*guest)
	if d.guests[g.caller]--; d.guests[g.caller] == 0 {
		delete(d.guests, g.caller)
	}
	return g
}

// waitsOn reports whether a guest whose doorWait is over keeps waiting: up to longestDoorWait, as
// long as requests are being let in.
func (d *door) waitsOn(g *guest, now time.Time) bool {
	return now.Sub(g.came) < longestDoorWait && now.Sub(d.opened) < doorWait
}

// admit waits until a request of a caller may begin. It returns errOverloaded if that takes
// too long or too many requests wait, or the context's cause.
//
// Unless the queue is overcrowded, a caller who has no call in it and has not used more than their
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
	g := &guest{caller: caller, came: time.Now(), answered: make(chan struct{})}
	mine := q.door.line.PushBack(g)
	q.door.guests[caller]++
	q.mu.Unlock()

	timer := time.NewTimer(doorWait)
	defer timer.Stop()
	for {
		var err error
		select {
		case <-g.answered:
			return g.err
		case <-timer.C:
			err = errOverloaded
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		q.mu.Lock()
		select {
		case <-g.answered: // at the last moment
			q.mu.Unlock()
			return g.err
		default:
		}
		if ctx.Err() == nil && q.door.waitsOn(g, time.Now()) {
			q.mu.Unlock()
			timer.Reset(doorWait)
			continue
		}
		q.door.leave(mine)
		q.mu.Unlock()
		return err
	}
}

// letIn lets in as many requests as the queue has room for before it is crowded. Requests that were
// let in earlier may not have reached the queue yet, so it may get twice as many calls, which is
// below its limit. They may also never reach it, because they are refused for another reason. So if
// the queue is empty, letIn runs again a little later, because there may be no batch that would
// call it. It does not let in all requests at once: most of their calls would find the queue full.
func (q *queue) letIn() {
	q.door.open(crowded-q.waiting, time.Now())
	if q.waiting > 0 || q.door.line.Len() == 0 || q.door.looking {
		return
	}
	q.door.looking = true
	time.AfterFunc(doorPause, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.door.looking = false
		q.letIn()
	})
}
