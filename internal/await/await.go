// Package await waits in tests for what another goroutine or process does.
package await

import (
	"testing"
	"time"
)

// Limit bounds every wait. It is generous, because the machine may be busy; the benchmarks
// measure how long things take.
const Limit = 5 * time.Minute

// maxPause bounds the time between two questions.
const maxPause = 50 * time.Millisecond

// Until waits until done returns true. It calls done at once, soon again, and then less and less
// often, because done may cost processor time that the awaited work needs. After Limit it ends
// the test with what it waited for, such as "all keys are shredded".
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	began := time.Now()
	for pause := time.Millisecond; !done(); pause = min(2*pause, maxPause) {
		if time.Since(began) > Limit {
			t.Fatalf("waited %v in vain until %s", Limit, what)
		}
		time.Sleep(pause)
	}
}
