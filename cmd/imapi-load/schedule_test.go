package main

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A server that stalls for a second delays all operations that are due in that second, and the
// latency of each is measured from when it was due.
func TestStallsAreCountedInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s schedule
		var latency histogram
		began := time.Now()
		s.begin(began, began, began.Add(2*time.Second), 100)
		for {
			n, due, ok := s.next(t.Context())
			if !ok {
				break
			}
			if n == 0 {
				time.Sleep(time.Second)
			}
			latency.add(time.Since(due))
		}
		if n := s.started.Load(); n != 200 || s.offered(2*time.Second) != 200 {
			t.Errorf("%d operations began and %d were due, want 200", n, s.offered(2*time.Second))
		}
		// Operation n of the first hundred waited for 1 s minus n times 10 ms, the others not at
		// all.
		if p := latency.quantile(0.75); p < 480*time.Millisecond || p > 520*time.Millisecond {
			t.Errorf("three quarters had at most %v, want 500 ms", p)
		}
		if b := time.Duration(s.behind.Load()); b < 980*time.Millisecond || b > time.Second {
			t.Errorf("an operation waited %v for a connection, want 990 ms", b)
		}
	})
}

// Operations are spread over the connections and begin when they are due.
func TestOperationsBeginWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s schedule
		began := time.Now()
		s.begin(began, began, began.Add(time.Second), 50)
		var mu sync.Mutex
		seen := map[int64]bool{}
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for {
					n, due, ok := s.next(t.Context())
					if !ok {
						return
					}
					if want := began.Add(time.Duration(n) * 20 * time.Millisecond); !due.Equal(want) || !time.Now().Equal(want) {
						t.Errorf("operation %d was due %v and began %v after the beginning", n, due.Sub(began), time.Since(began))
					}
					mu.Lock()
					if seen[n] {
						t.Errorf("operation %d was done twice", n)
					}
					seen[n] = true
					mu.Unlock()
				}
			})
		}
		workers.Wait()
		if len(seen) != 50 || s.behind.Load() != 0 {
			t.Errorf("%d operations, want 50; the longest wait was %v", len(seen), time.Duration(s.behind.Load()))
		}
	})
}

// Operations that are not due yet when the load is interrupted do not begin.
func TestInterruptionEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s schedule
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		s.begin(time.Now(), time.Now(), time.Time{}, 10)
		n := 0
		for _, _, ok := s.next(ctx); ok; _, _, ok = s.next(ctx) {
			n++
		}
		if n != 2 || s.started.Load() != 2 {
			t.Errorf("%d operations began and %d are counted, want 2", n, s.started.Load())
		}
	})
}

// Operations that begin during the warmup run but are not counted.
func TestWarmupIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s schedule
		began := time.Now()
		s.begin(began, began.Add(time.Second), began.Add(3*time.Second), 10)
		n := 0
		for num, _, ok := s.next(t.Context()); ok; num, _, ok = s.next(t.Context()) {
			if n++; num == 0 {
				time.Sleep(500 * time.Millisecond)
			}
		}
		if n != 30 || s.started.Load() != 20 || s.offered(2*time.Second) != 20 || s.behind.Load() != 0 {
			t.Errorf("%d operations, %d of them counted, the longest wait %v; want 30, 20 and none", n, s.started.Load(), time.Duration(s.behind.Load()))
		}
	})
}
