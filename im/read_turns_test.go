package im

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// queue records running and waiting reads, in a synctest bubble.
type queue struct {
	t     *testing.T
	turns *turns
	// reading are the names of the running reads, in the order of their starts; ended are the
	// refused reads, with their errors.
	reading []string
	done    map[string][]func()
	ended   []string
}

func inQueue(t *testing.T, readers int, fn func(*queue)) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{t: t, turns: newTurns(readers, 0, time.Second), done: make(map[string][]func())}
		fn(q)
		for len(q.reading) > 0 {
			q.end(q.reading[0])
		}
		q.turns.mu.Lock()
		defer q.turns.mu.Unlock()
		if q.turns.free != readers || len(q.turns.lines) != 0 {
			q.t.Errorf("%d readers are free in the end, and %d lines are left", q.turns.free, len(q.turns.lines))
		}
		for kind, k := range q.turns.kinds {
			if k.queued != 0 {
				q.t.Errorf("%d reads of kind %d are said to wait in the end", k.queued, kind)
			}
		}
	})
}

// ask starts a read, named "kind user".
func (q *queue) ask(ctx context.Context, name string) {
	kind, user, _ := strings.Cut(name, " ")
	switch kind {
	case "job":
		ctx = WithCaller(ctx, Caller{Job: kind})
	case "deliver":
		ctx = WithCaller(ctx, Caller{Job: DeliveryJob})
	case "stream":
		ctx = WithStream(ctx)
		fallthrough
	case "request":
		ctx = WithCaller(ctx, Caller{User: UserID(user)})
	}
	go func() {
		done, err := q.turns.take(ctx)
		if err != nil {
			q.ended = append(q.ended, fmt.Sprint(name, ": ", err))
			return
		}
		q.reading = append(q.reading, name)
		q.done[name] = append(q.done[name], done)
	}()
	synctest.Wait() // this also makes only one goroutine at a time change the lists
}

// end ends the oldest read with a name.
func (q *queue) end(name string) {
	done := q.done[name][0]
	q.done[name] = q.done[name][1:]
	i := slices.Index(q.reading, name)
	q.reading = slices.Delete(q.reading, i, i+1)
	done()
	synctest.Wait()
}

func (q *queue) expect(reading ...string) {
	q.t.Helper()
	if !slices.Equal(q.reading, reading) {
		q.t.Fatalf("the running reads are %q, want %q", q.reading, reading)
	}
}

func TestOneUserHasHalfOfTheReaders(t *testing.T) {
	inQueue(t, 4, func(q *queue) {
		for range 16 {
			q.ask(q.t.Context(), "request mallory")
		}
		q.expect("request mallory", "request mallory")
		q.ask(q.t.Context(), "request alice")
		q.ask(q.t.Context(), "request bob")
		q.expect("request mallory", "request mallory", "request alice", "request bob")
		q.end("request alice")
		q.expect("request mallory", "request mallory", "request bob")
		q.end("request mallory")
		q.expect("request mallory", "request bob", "request mallory")
	})
}

// The user with the fewest readers comes first, and among equals the one who has waited longest,
// whatever their number of reads.
func TestTurnsGoRound(t *testing.T) {
	inQueue(t, 2, func(q *queue) {
		for _, name := range []string{"a", "a", "a", "a", "b", "b", "c"} {
			q.ask(q.t.Context(), "request "+name)
		}
		var order []string
		for len(q.reading) > 0 {
			order = append(order, q.reading[0][len("request "):])
			q.end(q.reading[0])
		}
		if got := strings.Join(order, ""); got != "abcabaa" {
			q.t.Errorf("the order is %s", got)
		}
	})
}

func TestRequestsDoNotWaitForLong(t *testing.T) {
	inQueue(t, 4, func(q *queue) {
		for _, name := range []string{"request a", "request a", "request a", "stream a", "stream b", "job", "job"} {
			q.ask(q.t.Context(), name)
		}
		q.expect("request a", "request a", "stream a", "stream b")
		ctx, cancel := context.WithCancelCause(q.t.Context())
		q.ask(ctx, "stream c")
		time.Sleep(time.Second)
		synctest.Wait()
		if len(q.ended) != 1 || !strings.HasPrefix(q.ended[0], "request a: overloaded") {
			q.t.Fatalf("ended are %q", q.ended)
		}
		cancel(errors.New("gone"))
		synctest.Wait()
		if len(q.ended) != 2 || q.ended[1] != "stream c: gone" {
			q.t.Fatalf("ended are %q", q.ended)
		}
		time.Sleep(time.Hour) // jobs and streams wait without a limit
		q.end("stream a")
		q.expect("request a", "request a", "stream b", "job")
		q.end("stream b")
		q.expect("request a", "request a", "job") // one at a time
	})
}

func TestRefusalSaysWhenToRetry(t *testing.T) {
	e, ok := AsError(errTooManyReads())
	if !ok || e.Kind != Unavailable || e.RetryAfter != time.Second {
		t.Errorf("the refusal is %+v", e)
	}
}

func TestWaitingReadsAreBounded(t *testing.T) {
	inQueue(t, 2, func(q *queue) {
		for range 1 + mostWaiting {
			q.ask(q.t.Context(), "request mallory")
		}
		if len(q.ended) != 0 {
			q.t.Fatalf("ended are %q", q.ended)
		}
		q.ask(q.t.Context(), "request mallory")
		if len(q.ended) != 1 {
			q.t.Errorf("ended are %q", q.ended)
		}
		q.ask(q.t.Context(), "request alice")
		q.expect("request mallory", "request alice")
	})
}

// While very many reads wait, only users who have none may add one, and none may while twice as
// many wait. Streams and jobs may.
func TestWaitingReadsOfAllAreBounded(t *testing.T) {
	inQueue(t, 2, func(q *queue) {
		q.ask(q.t.Context(), "request alice")
		q.ask(q.t.Context(), "request alice")
		refused := func(name string) bool {
			before := len(q.ended)
			ctx, cancel := context.WithCancelCause(q.t.Context())
			q.ask(ctx, name)
			refused := len(q.ended) > before
			cancel(errors.New("gone"))
			synctest.Wait()
			return refused
		}
		waiting := func(n int) {
			q.turns.mu.Lock()
			defer q.turns.mu.Unlock()
			q.turns.kinds[byRequest].queued = n
		}
		for _, c := range []struct {
			waiting int
			name    string
			want    bool
		}{
			{mostInAll - 1, "request alice", false},
			{mostInAll, "request alice", true},
			{mostInAll, "request bob", false},
			{2*mostInAll - 1, "request bob", false},
			{2 * mostInAll, "request bob", true},
			{2 * mostInAll, "stream bob", false},
			{2 * mostInAll, "job", false},
		} {
			waiting(c.waiting)
			if got := refused(c.name); got != c.want {
				q.t.Errorf("%s while %d reads wait: refused is %t", c.name, c.waiting, got)
			}
		}
		waiting(1) // the second one of alice
	})
}

// While many reads wait, one is refused early for every four that got their turns. The others
// wait as long as any.
func TestCrowdedReadsAreRefusedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		readers := newTurns(1, 0, 0)
		request := func(user UserID) error {
			done, err := readers.take(WithCaller(t.Context(), Caller{User: user}))
			if err == nil {
				t.Cleanup(done)
			}
			return err
		}
		if err := request("alice"); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct{ queued, credit, left, wait int }{
			"nobody else waits":                {0, perRefusal, perRefusal, 5},
			"many wait, credit for a refusal":  {manyWaiting, perRefusal, 0, 1},
			"many wait, credit for no refusal": {manyWaiting, perRefusal - 1, perRefusal - 1, 5},
		} {
			k := &readers.kinds[byRequest]
			k.queued, k.credit = c.queued, c.credit
			began := time.Now()
			if err := request("bob"); err == nil {
				t.Errorf("%s: bob has a turn", name)
			}
			if got, want := time.Since(began), time.Duration(c.wait)*time.Second; got != want || k.credit != c.left {
				t.Errorf("%s: refused after %v with a credit of %d left, want %v and %d", name, got, k.credit, want, c.left)
			}
		}
	})
}

// Each turn of a request earns a quarter of a refusal, up to a limit.
func TestTurnsEarnRefusals(t *testing.T) {
	readers := newTurns(1, 0, 0)
	for n := range 2 * mostRefusals * perRefusal {
		done, err := readers.take(WithCaller(t.Context(), Caller{User: "alice"}))
		if err != nil {
			t.Fatal(err)
		}
		done()
		if got, want := readers.kinds[byRequest].credit, min(n+1, mostRefusals*perRefusal); got != want {
			t.Fatalf("after %d turns the credit is %d, want %d", n+1, got, want)
		}
	}
}

// Streams that resume at the same time leave half of the readers to requests, and reads that all
// streams wait for come before both.
func TestKindsShareReaders(t *testing.T) {
	inQueue(t, 4, func(q *queue) {
		for n := range 9 {
			q.ask(q.t.Context(), fmt.Sprint("stream ", n))
		}
		q.expect("stream 0", "stream 1")
		for n := range 9 {
			q.ask(q.t.Context(), fmt.Sprint("request ", n))
		}
		q.expect("stream 0", "stream 1", "request 0", "request 1")
		q.ask(q.t.Context(), "job")
		q.ask(q.t.Context(), "deliver")
		q.end("request 0")
		q.expect("stream 0", "stream 1", "request 1", "deliver")
		q.end("stream 0")
		q.expect("stream 1", "request 1", "deliver", "job")
		q.end("stream 1")
		q.expect("request 1", "deliver", "job", "stream 2")
	})
}

func TestGivingUpWhenItsTurnComes(t *testing.T) {
	for range 100 {
		inQueue(t, 1, func(q *queue) {
			q.ask(q.t.Context(), "request a")
			ctx, cancel := context.WithCancel(q.t.Context())
			q.ask(ctx, "request b")
			done := q.done["request a"][0]
			q.reading, q.done["request a"] = nil, nil
			go cancel()
			go done()
			synctest.Wait()
		})
	}
}
