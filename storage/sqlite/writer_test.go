package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// hold keeps the writer busy until release is called.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	running, end := make(chan struct{}), make(chan struct{})
	c, err := s.writer.queue.add(context.Background(), func(im.Tx) error {
		close(running)
		<-end
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-running
	return func() {
		close(end)
		if err := <-c.done; err != nil {
			t.Error(err)
		}
	}
}

// block is the smallest call that writes.
func block(user int) func(im.Tx) error {
	return func(tx im.Tx) error { return tx.PutBlock("alice", im.UserID(fmt.Sprint(user)), fromMillis(0)) }
}

// TestGroupCommit: what queues while the writer is busy shares transactions,
// of at most maxBatch calls each, and a queue that is full refuses.
func TestGroupCommit(t *testing.T) {
	var mu sync.Mutex
	var batches []int
	// A clock by which nothing takes long: on a busy machine a batch would end by time.
	var now atomic.Int64
	clock := func() time.Time { return time.Unix(0, now.Add(1)) }
	s := openNew(t, Options{Now: clock, Observe: func(b BatchStats) {
		mu.Lock()
		defer mu.Unlock()
		batches = append(batches, b.Calls)
		if b.Err != nil || b.Commit <= 0 || b.Duration < b.Commit {
			t.Errorf("observed %+v", b)
		}
	}})
	release := hold(t, s)
	calls := make([]*call, maxQueue)
	for i := range calls {
		var err error
		if calls[i], err = s.writer.queue.add(t.Context(), block(i)); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Write(t.Context(), block(-1))
	if e, ok := im.AsError(err); !ok || e.Kind != im.Unavailable || e.Code != "overloaded" {
		t.Errorf("a full queue answers %v", err)
	}
	release()
	for _, c := range calls {
		if err := <-c.done; err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(t.Context(), block(-1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // and with it, what it observes
		t.Fatal(err)
	}
	if want := 1 + maxQueue/maxBatch + 1; len(batches) != want || batches[1] != maxBatch {
		t.Errorf("batches of %v calls, want %d", batches, want)
	}
}

// TestManyFailures: however many calls of a batch fail after they wrote, each
// of the others runs at most twice.
func TestManyFailures(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	release := hold(t, s)
	ran := make([]int, 200)
	calls := make([]*call, len(ran))
	for i := range calls {
		var err error
		calls[i], err = s.writer.queue.add(t.Context(), func(tx im.Tx) error {
			ran[i]++
			if err := block(i)(tx); err != nil || i%3 != 0 {
				return err
			}
			return errRule
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	release()
	for i, c := range calls {
		err := <-c.done
		if _, refused := im.AsError(err); refused != (i%3 == 0) || ran[i] > 2 {
			t.Errorf("call %d: %v, run %d times", i, err, ran[i])
		}
	}
}

// TestNoAnswerBeforeCommit: a refusal may rest on what another call of the
// batch wrote, so it is not given before that is durable.
func TestNoAnswerBeforeCommit(t *testing.T) {
	b := newBench(t)
	writes := b.job(honest)
	rests := &job{manner: refuses}
	rests.fn = func(tx im.Tx) error {
		if _, err := tx.Conversation(writes.id); err != nil {
			return err
		}
		return errRule
	}
	b.batch([]*job{writes, rests}, 0, "COMMIT", func(*session, string) error { return driverErrors[2] })
	if e, ok := im.AsError(rests.err); !ok || e.Kind != im.Unavailable {
		t.Errorf("answered %v for a conversation that is not there", rests.err)
	}
	b.batch([]*job{writes, rests}, 0, "", nil)
	if !errors.Is(rests.err, errRule) {
		t.Errorf("answered %v", rests.err)
	}
}

// TestClose: what is queued is done, what comes later is refused.
func TestClose(t *testing.T) {
	s := openNew(t, Options{})
	release := hold(t, s)
	c, err := s.writer.queue.add(t.Context(), block(1))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	release()
	if err := <-c.done; err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	view := s.View(t.Context(), func(im.Reader) error { return nil })
	for _, err := range []error{s.Write(t.Context(), block(2)), view, s.Ready(t.Context())} {
		if e, ok := im.AsError(err); !ok || e.Kind != im.Unavailable {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestListenerPanics: the store outlives it, and the callers get their answer.
func TestListenerPanics(t *testing.T) {
	b := newBench(t)
	b.store.OnCommit(func(im.Commit) { panic("for a test") })
	jobs := b.allJobs()
	b.batch(jobs, 0, "", nil)
	b.hold(jobs)
	b.checkPublished()
}

// TestStrangersShareTheNextTransaction: however many slow calls a user has queued,
// the next transaction has the calls of all others, together, and one of theirs.
func TestStrangersShareTheNextTransaction(t *testing.T) {
	var now atomic.Int64
	var batches []int
	s := openNew(t, Options{Now: func() time.Time { return time.Unix(0, now.Load()) }, Observe: func(b BatchStats) {
		batches = append(batches, b.Calls)
	}})
	release := hold(t, s)
	var mu sync.Mutex
	var ran []string
	queue := func(user string, n int, takes time.Duration) (calls []*call) {
		ctx := im.WithCaller(t.Context(), im.Caller{User: im.UserID(user)})
		for i := range n {
			c, err := s.writer.queue.add(ctx, func(tx im.Tx) error {
				now.Add(int64(takes))
				mu.Lock()
				defer mu.Unlock()
				ran = append(ran, user)
				return block(i)(tx)
			})
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, c)
		}
		return calls
	}
	calls := queue("slow", 100, 100*time.Millisecond)
	for u := range 20 {
		calls = append(calls, queue(fmt.Sprint("quick ", u), 1, 0)...)
	}
	release()
	for _, c := range calls {
		if err := <-c.done; err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// One that is known to be slow only once it has run, and the call that held the
	// writer up.
	if len(batches) < 3 || batches[0]+batches[1]+batches[2] < 20 {
		t.Errorf("transactions of %v calls", batches[:3])
	}
	slow := 0
	for _, user := range ran[:23] {
		if user == "slow" {
			slow++
		}
	}
	if slow > 3 {
		t.Errorf("%d slow calls were run before the last of the others: %v", slow, ran[:23])
	}
}
