// Package awake limits how long something may take by the time for which this process runs. A
// virtual machine may stand still for seconds, as may a process that is stopped or has no memory,
// while the clock goes on. A limit of package time would then be over before the answer that is
// already there was read: a hook would count as dead, and a message that it refuses would be sent.
//
// The limits here are for answers to what the process itself asked. Times that others rely on, such
// as the end of a token, go by the clock.
package awake

import (
	"context"
	"sync"
	"time"
)

// parts is the number of timers that run one after another for a limit. One that is due while the
// process stands still fires when it runs again, and counts only as its own part, however long it
// took.
const parts = 16

// AfterFunc calls fn in its own goroutine once the process has run for a duration, unless stop was
// called before. A time in which the process stands still counts as a sixteenth of the duration at
// most.
func AfterFunc(d time.Duration, fn func()) (stop func()) {
	l := &limit{part: d / parts, left: parts - 1, fn: fn}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(d-(parts-1)*l.part, l.passed)
	return l.stop
}

// WithTimeout returns a context that ends once the process has run for a duration. Then its cause,
// but not its error, is [context.DeadlineExceeded]. It has no deadline.
func WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// limit is a running limit.
type limit struct {
	part time.Duration
	fn   func()

	mu      sync.Mutex
	timer   *time.Timer
	left    int // parts after the current one
	stopped bool
}

// passed ends a part and begins the next one.
func (l *limit) passed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
	case l.left > 0:
		l.left--
		l.timer.Reset(l.part)
	default:
		l.stopped = true
		go l.fn()
	}
}

func (l *limit) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.timer.Stop()
}
