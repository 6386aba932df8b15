package await

import (
	"testing"
	"time"
)

// Undisturbed makes attempts at what needs real time, until one succeeds. A failed attempt fails the
// test, unless the process stood still for more than allowed while it was made: then the attempt
// shows nothing, and Undisturbed makes another.
func Undisturbed(t testing.TB, allowed time.Duration, attempt func() error) {
	t.Helper()
	undisturbed(t, allowed, Pauses(t), attempt)
}

func undisturbed(t testing.TB, allowed time.Duration, longest func() time.Duration, attempt func() error) {
	t.Helper()
	for began := time.Now(); ; {
		longest() // begins anew
		err := attempt()
		stood := longest()
		switch {
		case err == nil:
			return
		case stood <= allowed:
			t.Fatalf("%v (the process stood still for %v at most)", err, stood)
		case time.Since(began) > Limit:
			t.Fatalf("no attempt in %v was undisturbed: %v", Limit, err)
		}
		t.Logf("repeated, because the process stood still for %v: %v", stood, err)
	}
}
