package retention

import (
	"context"
	"time"
)

// maxSleep is the longest sleep without a check of the wall clock. A sleep is measured by
// the monotonic clock, which does not notice that the wall clock was set or that the
// machine was suspended. Without the check, work that has come due in the meantime would wait for
// the rest of the sleep.
const maxSleep = 15 * time.Second

// pause waits until d has passed, by the wall clock or the monotonic clock, whichever is
// first, or until wake receives a value. It returns false when ctx ends.
func pause(ctx context.Context, now func() time.Time, d time.Duration, wake <-chan struct{}) bool {
	began, wall := time.Now(), now().Round(0)
	for {
		left := d - max(time.Since(began), now().Round(0).Sub(wall))
		if left <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-wake:
			return true
		case <-time.After(min(left, maxSleep)):
		}
	}
}

// sleep returns true after d, false when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
