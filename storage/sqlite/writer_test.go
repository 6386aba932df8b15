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

// blockWriter blocks the writer until release is called.
func blockWriter(t *testing.T, s *Store) (release func()) {
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

// putBlock returns the smallest call that writes.
func putBlock(user int) func(im.Tx) error {
	return func(tx im.Tx) error { return tx.PutBlock("alice", im.UserID(fmt.Sprint(user)), fromMillis(0)) }
}

// TestGroupCommit checks that calls queued while the writer is busy share transactions of
// up to maxBatch calls, and that a full queue refuses calls.
func TestGroupCommit(t *testing.T) {
	var mu sync.Mutex
	var batches []int
	// With a real clock, batches would end early on a busy machine.
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
	release := blockWriter(t, s)
	calls := make([]*call, maxQueue)
	for i := range calls {
		var err error
		if calls[i], err = s.writer.queue.add(t.Context(), putBlock(i)); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Write(t.Context(), putBlock(-1))
	if e, ok := im.AsError(err); !ok || e.Kind != im.Unavailable || e.Code != "overloaded" {
		t.Errorf("write with a full queue: %v, want overloaded", err)
	}
	release()
	for _, c := range calls {
		if err := <-c.done; err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(t.Context(), putBlock(-1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // also ends calls of Observe
		t.Fatal(err)
	}
	if want := 1 + maxQueue/maxBatch + 1; len(batches) != want || batches[1] != maxBatch {
		t.Errorf("batches of %v calls, want %d", batches, want)
	}
}

// TestManyFailures checks that a call runs at most twice, however many other calls of its
// batch fail.
func TestManyFailures(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal"})
	release := blockWriter(t, s)
	ran := make([]int, 200)
	calls := make([]*call, len(ran))
	for i := range calls {
		var err error
		calls[i], err = s.writer.queue.add(t.Context(), func(tx im.Tx) error {
			ran[i]++
			if err := putBlock(i)(tx); err != nil || i%3 != 0 {
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

// TestNoAnswerBeforeCommit checks that a refusal is returned only once the transaction is
// durable, because it may depend on what another call wrote.
func TestNoAnswerBeforeCommit(t *testing.T) {
	b := newBatchFixture(t)
	writes := b.job(returnsErrors)
	rests := &job{behaviour: refuses}
	rests.fn = func(tx im.Tx) error {
		if _, err := tx.Conversation(writes.id); err != nil {
			return err
		}
		return errRule
	}
	b.batch([]*job{writes, rests}, 0, "COMMIT", func(*session, string) error { return driverErrors[2] })
	if e, ok := im.AsError(rests.err); !ok || e.Kind != im.Unavailable {
		t.Errorf("Write = %v, but the conversation it depends on was not committed", rests.err)
	}
	b.batch([]*job{writes, rests}, 0, "", nil)
	if !errors.Is(rests.err, errRule) {
		t.Errorf("Write = %v, want errRule", rests.err)
	}
}

// TestClose checks that Close runs queued calls, and that later calls are refused.
func TestClose(t *testing.T) {
	s := openNew(t, Options{})
	release := blockWriter(t, s)
	c, err := s.writer.queue.add(t.Context(), putBlock(1))
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
	for _, err := range []error{s.Write(t.Context(), putBlock(2)), view, s.Ready(t.Context())} {
		if e, ok := im.AsError(err); !ok || e.Kind != im.Unavailable {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestListenerPanics checks that a panic of a listener affects neither the store nor the
// callers.
func TestListenerPanics(t *testing.T) {
	b := newBatchFixture(t)
	b.store.OnCommit(func(im.Commit) { panic("for a test") })
	jobs := b.allJobs()
	b.batch(jobs, 0, "", nil)
	b.checkJobs(jobs)
	b.checkPublished()
}

// TestQuickCallsShareTheNextTransaction checks that the next transaction runs the calls of
// all other users and at most a few of a user with many slow ones.
func TestQuickCallsShareTheNextTransaction(t *testing.T) {
	var now atomic.Int64
	var batches []int
	s := openNew(t, Options{Now: func() time.Time { return time.Unix(0, now.Load()) }, Observe: func(b BatchStats) {
		batches = append(batches, b.Calls)
	}})
	release := blockWriter(t, s)
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
				return putBlock(i)(tx)
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
	// There are three transactions, because the first slow call is known to be slow only after it
	// has run.
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
