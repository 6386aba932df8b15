// Package await makes tests wait for the effects of other goroutines and processes, and tells them
// whether the machine stood still.
package await

import (
	"testing"
	"time"
)

// Limit bounds every wait. It is generous, because the machine may be busy; durations are for
// benchmarks to measure.
const Limit = 5 * time.Minute

// maxPause bounds the time between two calls of done.
const maxPause = 50 * time.Millisecond

// Until waits until done returns true. It calls done at once, soon again, and then less and less
// often, because done may cost processor time that the awaited work needs. After Limit it fails the
// test, and reports the condition that it waited for, such as "all keys are shredded".
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	began := time.Now()
	for pause := time.Millisecond; !done(); pause = min(2*pause, maxPause) {
		if time.Since(began) > Limit {
			t.Fatalf("gave up after waiting %v until %s", Limit, what)
		}
		time.Sleep(pause)
	}
}
