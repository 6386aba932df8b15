package retention

import (
	"context"
	"time"
)

// maxSleep is the longest sleep without a look at the clock on the wall. A sleep is
// measured by another clock, which does not see that the machine's clock was set, or
// that the machine was asleep: without a look, what has come due since would wait for
// as long as was left when the sleep began.
const maxSleep = 15 * time.Second

// pause waits until d has passed, by the clock on the wall or by that of the sleep,
// whichever is first, or something is put into wake. It returns false when ctx ends.
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
