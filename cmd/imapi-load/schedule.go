package main

import (
	"context"
	"sync/atomic"
	"time"
)

// schedule says when each operation is due.
//
// With a rate, operation n is due n/rate after the beginning, whether or not the server has
// answered the earlier ones. Latency is counted from then on. If it were counted from when
// a connection became free, a server that stalls for a second would be asked nothing in that
// second, and the stall would appear as one slow answer among thousands: this is known as
// coordinated omission.
//
// Without a rate each connection does the next operation when the last one was answered.
type schedule struct {
	began, end time.Time // end is zero if there is none
	rate       float64
	started    atomic.Int64
	behind     atomic.Int64 // the longest that an operation waited for a connection
}

func (s *schedule) begin(at, end time.Time, rate float64) {
	s.began, s.end, s.rate = at, end, rate
}

// next waits until the next operation is due and returns its number, or false at the end.
func (s *schedule) next(ctx context.Context) (n int64, due time.Time, ok bool) {
	if ctx.Err() != nil {
		return 0, due, false
	}
	if s.rate == 0 {
		return s.started.Add(1) - 1, time.Now(), true
	}
	n = s.started.Add(1) - 1
	due = s.began.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
	if !s.end.IsZero() && !due.Before(s.end) {
		s.started.Add(-1)
		return 0, due, false
	}
	wait := time.Until(due)
	if wait > 0 {
		pause(ctx, wait)
	}
	if ctx.Err() != nil {
		s.started.Add(-1)
		return 0, due, false
	}
	for longest := s.behind.Load(); int64(-wait) > longest && !s.behind.CompareAndSwap(longest, int64(-wait)); {
		longest = s.behind.Load()
	}
	return n, due, true
}

// offered returns how many operations were due in a time.
func (s *schedule) offered(in time.Duration) int64 {
	if s.rate == 0 {
		return s.started.Load()
	}
	return max(int64(s.rate*in.Seconds()), s.started.Load())
}
