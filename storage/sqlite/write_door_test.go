package sqlite

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
)

// ask requests admission of a user and returns a channel for the answer.
func (l *queueFixture) ask(ctx context.Context, user string) <-chan error {
	answer := make(chan error, 1)
	go func() { answer <- l.admit(ctx, im.Caller{User: im.UserID(user)}) }()
	synctest.Wait()
	return answer
}

// crowd queues calls of different users until the queue is crowded.
func (l *queueFixture) crowd() {
	for i := range crowded {
		l.must(l.put(fmt.Sprint("user ", i), time.Millisecond/10, false))
	}
}

// answered returns an answer, which must have arrived.
func (l *queueFixture) answered(what string, answer <-chan error) error {
	l.Helper()
	select {
	case err := <-answer:
		return err
	default:
		l.Fatalf("%s still waits", what)
		return nil
	}
}

func (l *queueFixture) waits(what string, answer <-chan error) {
	l.Helper()
	select {
	case err := <-answer:
		l.Fatalf("%s does not wait: %v", what, err)
	default:
	}
}

// TestDoorHoldsRequestsWhileCrowded checks that while the queue is crowded, users with a call in it
// wait at the door, and others do not.
func TestDoorHoldsRequestsWhileCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newQueueFixture(t)
		l.must(l.answered("the first", l.ask(t.Context(), "user 0")))
		l.must(l.put("hog", 9*time.Millisecond, false))
		l.crowd()
		again := l.ask(t.Context(), "user 0")
		l.waits("a user with a call in the queue", again)
		l.must(l.answered("a stranger", l.ask(t.Context(), "stranger")))

		// Each transaction makes room for as many calls as it has run.
		later := l.ask(t.Context(), "user 1")
		l.transaction(nil)
		synctest.Wait()
		l.must(l.answered("the first at the door", again))
		l.must(l.answered("the second at the door", later))

		// Users who have used more time than others wait, too.
		for l.waiting < crowded {
			l.must(l.put(fmt.Sprint("more ", l.waiting), time.Millisecond/10, false))
		}
		had := l.ask(t.Context(), "hog")
		l.waits("a user who has used more time", had)
		for l.waiting > 0 {
			l.transaction(nil)
		}
		synctest.Wait()
		l.must(l.answered("a user who has used more time", had))
		if l.door.line.Len() != 0 || len(l.door.guests) != 0 {
			t.Errorf("%d requests and %d callers stay at the door", l.door.line.Len(), len(l.door.guests))
		}
	})
}

// TestDoorRefuses checks that a request is refused after a second if none is let in, and at once if
// too many wait.
func TestDoorRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newQueueFixture(t)
		l.crowd()
		ctx, hangUp := context.WithCancelCause(t.Context())
		gone := l.ask(ctx, "user 1")
		var own []<-chan error
		for range maxOwnLine {
			own = append(own, l.ask(t.Context(), "user 0"))
		}
		if err := l.answered("one too many of a user", l.ask(t.Context(), "user 0")); !errors.Is(err, errOverloaded) {
			t.Errorf("one too many of a user: %v", err)
		}
		cause := errors.New("the client is gone")
		hangUp(cause)
		synctest.Wait()
		if err := l.answered("a user who disconnects", gone); !errors.Is(err, cause) {
			t.Errorf("a user who disconnects gets %v", err)
		}
		time.Sleep(doorWait - time.Millisecond)
		l.waits("a patient one", own[0])
		time.Sleep(time.Millisecond)
		synctest.Wait()
		for _, answer := range own {
			if err := l.answered("a user who waited too long", answer); !errors.Is(err, errOverloaded) {
				t.Errorf("a user who waited too long gets %v", err)
			}
		}
		if refusal, _ := im.AsError(errOverloaded); refusal.Code != "overloaded" || refusal.RetryAfter <= 0 {
			t.Errorf("the refusal is %+v", refusal)
		}
		if l.door.line.Len() != 0 || len(l.door.guests) != 0 {
			t.Errorf("%d requests and %d callers stay at the door", l.door.line.Len(), len(l.door.guests))
		}

		// In an overcrowded queue everyone waits, and a full line refuses everyone at once.
		for i := l.waiting; i < overcrowded; i++ {
			l.must(l.put(fmt.Sprint("user ", i), 0, false))
		}
		l.waits("a stranger", l.ask(t.Context(), "stranger"))
		for i := l.door.line.Len(); i < maxLine; i++ {
			l.door.line.PushBack(&guest{caller: im.Caller{User: im.UserID(fmt.Sprint("guest ", i))}, answered: make(chan struct{})})
		}
		if err := l.answered("a stranger", l.ask(t.Context(), "another stranger")); !errors.Is(err, errOverloaded) {
			t.Errorf("a stranger gets %v while the line is full", err)
		}
	})
}

// TestDoorRationsRefusals checks that while requests are let in, one of those that have waited for
// a second is refused for every four that are let in. The others wait until none is let in any
// more.
func TestDoorRationsRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newQueueFixture(t)
		l.crowd()
		var waiting []<-chan error
		for n := range 2 * crowded {
			waiting = append(waiting, l.ask(t.Context(), fmt.Sprint("user ", n%crowded)))
		}
		// after counts how many were let in and refused at a time.
		after := func(d time.Duration, transaction bool) (in, refused int) {
			time.Sleep(d)
			if transaction {
				l.transaction(nil)
			}
			synctest.Wait()
			for i := l.waiting; i < crowded; i++ {
				l.must(l.put(fmt.Sprint("more ", i), time.Millisecond/10, false))
			}
			left := waiting[:0]
			for _, answer := range waiting {
				select {
				case err := <-answer:
					if err == nil {
						in++
					} else if refused++; !errors.Is(err, errOverloaded) {
						t.Errorf("one is refused with %v", err)
					}
				default:
					left = append(left, answer)
				}
			}
			waiting = left
			return in, refused
		}
		for _, c := range []struct {
			name        string
			after       time.Duration
			transaction bool
			in, refused int
		}{
			{"a transaction before the first is due", doorWait - time.Millisecond, true, maxBatch, 0},
			{"the first are due, no transaction", time.Millisecond, false, 0, 0},
			{"a transaction when the first are due", 0, true, maxBatch, maxBatch / perRefusal},
			{"long after, no transaction", doorWait - time.Millisecond, false, 0, 0},
			{"the last are due, no transaction", time.Millisecond, false, 0, 2*crowded - 2*maxBatch - maxBatch/perRefusal},
		} {
			if in, refused := after(c.after, c.transaction); in != c.in || refused != c.refused {
				t.Fatalf("%s: %d are let in and %d refused, want %d and %d", c.name, in, refused, c.in, c.refused)
			}
		}
		if l.door.line.Len() != 0 || len(l.door.guests) != 0 {
			t.Errorf("%d requests and %d callers stay at the door", l.door.line.Len(), len(l.door.guests))
		}
	})
}

// TestDoorWaitIsBounded checks that a request waits at the door for at most three seconds, even if
// others are let in.
func TestDoorWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newQueueFixture(t)
		l.crowd()
		for range 12 {
			l.ask(t.Context(), "user 0")
		}
		last := l.ask(t.Context(), "user 1")
		for range 11 {
			time.Sleep(longestDoorWait / 12)
			l.mu.Lock()
			l.door.open(1, time.Now())
			l.door.credit = 0 // so that none is refused before
			l.mu.Unlock()
			synctest.Wait()
			l.waits("the last", last)
		}
		time.Sleep(longestDoorWait / 12)
		synctest.Wait()
		if err := l.answered("the last", last); !errors.Is(err, errOverloaded) {
			t.Errorf("the last gets %v", err)
		}
	})
}

// TestDoorWhileQueueIsEmpty checks that an empty queue lets in no more requests than it has room
// for, and more of them later if none has reached it.
func TestDoorWhileQueueIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newQueueFixture(t)
		l.crowd()
		for n := range 4 * crowded {
			l.ask(t.Context(), fmt.Sprint("user ", n%crowded))
		}
		left := func(want int) {
			t.Helper()
			synctest.Wait()
			l.mu.Lock()
			defer l.mu.Unlock()
			if n := l.door.line.Len(); n != want {
				t.Errorf("%d requests are at the door, want %d", n, want)
			}
		}
		l.transaction(nil)
		left(4*crowded - maxBatch)
		l.transaction(nil)
		left(3*crowded - maxBatch)
		time.Sleep(doorPause)
		left(2*crowded - maxBatch)
		l.must(l.put("one of them", time.Millisecond/10, false))
		time.Sleep(doorPause)
		left(crowded - maxBatch + 1)
		l.transaction(nil)
		left(0)
	})
}

// TestDoorOpensWhenTheQueueCloses checks that no request keeps waiting when the queue is closed.
func TestDoorOpensWhenTheQueueCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newQueueFixture(t)
		l.crowd()
		waiting := l.ask(t.Context(), "user 0")
		l.waits("a user with a call in the queue", waiting)
		l.close()
		synctest.Wait()
		l.must(l.answered("a user who waited", waiting))
		l.must(l.answered("a user who comes later", l.ask(t.Context(), "user 0")))
	})
}

// TestCallsAreWithdrawn checks that a call that has waited for too long is withdrawn and never
// runs, that Write waits for a call that is running, and that calls of jobs wait without a limit.
func TestCallsAreWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{queue: newQueue(time.Now)}
		write := func(c im.Caller, bulk bool) <-chan error {
			ctx := im.WithCaller(t.Context(), c)
			if bulk {
				ctx = im.WithBulk(ctx)
			}
			answer := make(chan error, 1)
			go func() { answer <- w.write(ctx, func(im.Tx) error { return nil }) }()
			synctest.Wait()
			return answer
		}
		alice := write(im.Caller{User: "alice"}, false)
		b := w.queue.batch()
		running := b.next()
		if !running.begin() {
			t.Fatal("a waiting call was not allowed to run")
		}
		bob := write(im.Caller{User: "bob"}, false)
		step := write(im.Caller{User: "carol"}, true)
		job := write(im.Caller{Job: "retention"}, false)
		time.Sleep(maxWait)
		synctest.Wait()
		if err := <-bob; !errors.Is(err, errOverloaded) {
			t.Errorf("the call that waited gets %v", err)
		}
		for what, answer := range map[string]<-chan error{"the running call": alice, "a step": step, "a job": job} {
			select {
			case err := <-answer:
				t.Errorf("Write did not wait for %s: %v", what, err)
			default:
			}
		}
		if !running.begin() {
			t.Error("a call was not allowed to run again after a rollback")
		}
		running.answer(nil)
		b.close()
		ran := map[im.Caller]bool{}
		for waiting, _ := w.queue.len(); waiting > 0; waiting, _ = w.queue.len() {
			b := w.queue.batch()
			for c := b.next(); c != nil; c = b.next() {
				if c.begin() {
					ran[im.CallerOf(c.ctx)] = true
					c.answer(nil)
				}
			}
			b.close()
		}
		for what, answer := range map[string]<-chan error{"the running call": alice, "a step": step, "a job": job} {
			if err := <-answer; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if ran[im.Caller{User: "bob"}] || len(ran) != 2 {
			t.Errorf("calls of %v ran", ran)
		}
	})
}
