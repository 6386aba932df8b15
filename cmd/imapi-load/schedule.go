package main

import (
	"context"
	"sync/atomic"
	"time"
)

// schedule says when each operation is due.
//
// With a rate, operation n is due n/rate after the beginning, whether or not the server has
// answered the earlier ones. Latency is measured from that time. If it were measured from when a
// connection became free, a server that stalls for a second would get no requests in that second,
// and the stall would appear as one slow answer among thousands: this is known as coordinated
// omission.
//
// Without a rate each connection starts the next operation when the previous one was answered.
type schedule struct {
	began, measured, end time.Time // end is zero if there is none
	rate                 float64
	numbers              atomic.Int64
	started              atomic.Int64 // measured operations
	behind               atomic.Int64 // the longest delay of a measured operation that waited for a connection
}

// begin sets when the first operation is due, when measuring begins, when the load ends, and the
// rate.
func (s *schedule) begin(at, measured, end time.Time, rate float64) {
	s.began, s.measured, s.end, s.rate = at, measured, end, rate
}

// next waits until the next operation is due and returns its number and that time. It returns false
// if ctx has ended or, with a rate, if the operation would be due after the end.
func (s *schedule) next(ctx context.Context) (n int64, due time.Time, ok bool) {
	if ctx.Err() != nil {
		return 0, due, false
	}
	n = s.numbers.Add(1) - 1
	if s.rate == 0 {
		due = time.Now()
		s.start(due)
		return n, due, true
	}
	due = s.began.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
	if !s.end.IsZero() && !due.Before(s.end) {
		return 0, due, false
	}
	wait := time.Until(due)
	pause(ctx, wait)
	if ctx.Err() != nil {
		return 0, due, false
	}
	s.start(due)
	return n, due, true
}

// start counts an operation that begins now, unless measuring has not begun.
func (s *schedule) start(due time.Time) {
	now := time.Now()
	if now.Before(s.measured) {
		return
	}
	s.started.Add(1)
	waited := int64(now.Sub(due))
	for longest := s.behind.Load(); waited > longest && !s.behind.CompareAndSwap(longest, waited); {
		longest = s.behind.Load()
	}
}

// offered returns the number of operations that were due within a duration. It is at least the
// number of measured operations, and without a rate it is that number.
func (s *schedule) offered(in time.Duration) int64 {
	if s.rate == 0 {
		return s.started.Load()
	}
	return max(int64(s.rate*in.Seconds()), s.started.Load())
}
