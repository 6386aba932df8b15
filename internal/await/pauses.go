package await

import (
	"sync"
	"testing"
	"time"
)

// pauseStep is the time between two looks at the clock.
const pauseStep = 10 * time.Millisecond

// Pauses watches until the end of the test whether the process stands still. The returned function
// returns the longest time since its last call in which the process did not run as it should, which
// is about 10 ms if it always ran.
//
// It is for promises about time, which nothing can keep while the machine stands still: a test may
// repeat what failed if it was held up then.
func Pauses(t testing.TB) (longest func() time.Duration) {
	t.Helper()
	var (
		mu   sync.Mutex
		last = time.Now()
		most time.Duration
	)
	look := func(reset bool) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		most, last = max(most, now.Sub(last)), now
		found := most
		if reset {
			most = 0
		}
		return found
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticks := time.NewTicker(pauseStep)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				look(false)
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return func() time.Duration { return look(true) }
}
