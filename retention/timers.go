package retention

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

const (
	// minPause is the minimum time between two runs, so that messages which come due in quick
	// succession are erased together.
	minPause = 10 * time.Millisecond
	// firstBackoff is the wait after a failure; it doubles with each further one, up to
	// maxBackoff.
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
)

// Eraser erases the messages that are due; it is [im.Service].
type Eraser interface {
	// EraseDue returns the number of messages that it has erased, and the time at which the next
	// message is due, zero if there is none.
	EraseDue(ctx context.Context) (n int, next time.Time, err error)
}

var _ Eraser = (*im.Service)(nil)

// Timers erases messages when they burn or expire. It does not poll the store: it learns the
// next due time from each run, and from Due the due times that are set meanwhile.
type Timers struct {
	eraser Eraser
	log    *slog.Logger
	now    func() time.Time

	// wake holds a token when next may have become earlier.
	wake chan struct{}

	mu sync.Mutex
	// next is the earliest due time known, zero for none.
	next time.Time
}

// NewTimers returns timers that do nothing until Run.
func NewTimers(log *slog.Logger, e Eraser) *Timers {
	return &Timers{eraser: e, log: log, now: time.Now, wake: make(chan struct{}, 1)}
}

// Due tells the timers that a message will be due at a time; zero is ignored. Call it after the
// message was committed. It does not block, and may be called before Run.
func (t *Timers) Due(at time.Time) {
	if t.know(at) {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// know makes a due time the next one if it is earlier than that, and reports whether it is. It
// ignores zero.
func (t *Timers) know(at time.Time) bool {
	if at.IsZero() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.next.IsZero() && !at.Before(t.next) {
		return false
	}
	t.next = at.Round(0) // by the wall clock, which may be set
	return true
}

// Run erases messages that came due earlier, and then messages as they come due, until ctx
// ends. It logs failures, and retries after a second, or up to 30 s after several failures in a
// row. Call it once.
func (t *Timers) Run(ctx context.Context) {
	var backoff time.Duration
	for {
		// Messages reported by now are committed, so the run sees them. It may miss those reported
		// during the run.
		t.mu.Lock()
		t.next = time.Time{}
		t.mu.Unlock()
		n, next, err := t.eraser.EraseDue(ctx)
		if ctx.Err() != nil {
			return
		}
		if n > 0 {
			t.log.DebugContext(ctx, "due messages erased", "messages", n)
		}
		between := minPause
		if err != nil {
			backoff = min(max(2*backoff, firstBackoff), maxBackoff)
			between = backoff
			t.log.ErrorContext(ctx, "due messages not erased", "error", faults.Text(err), "retry_in", backoff)
		} else {
			backoff = 0
			t.know(next)
		}
		if !sleep(ctx, between) || err == nil && !t.wait(ctx) {
			return
		}
	}
}

// wait returns true when a message is due, and false when ctx ends.
func (t *Timers) wait(ctx context.Context) bool {
	for {
		t.mu.Lock()
		next := t.next
		t.mu.Unlock()
		var fire <-chan time.Time
		if !next.IsZero() {
			left := next.Sub(t.now())
			if left <= 0 {
				return true
			}
			fire = time.After(min(left, maxSleep))
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.wake:
		case <-fire:
		}
	}
}
