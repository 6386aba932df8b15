// Package steps names the steps of a long test, so that a failure shows the step in which it
// happened.
package steps

import "testing"

// Begin returns a function that ends the current step of the test, if there is one, and begins
// the next. When the first failed step ends, its name is logged. The function must be called by the
// goroutine of the test.
func Begin(t testing.TB) func(name string) {
	t.Helper()
	current, logged := "", false
	end := func() {
		t.Helper()
		if t.Failed() && !logged {
			logged = true
			t.Logf("failed in the step %q", current)
		}
	}
	t.Cleanup(end)
	return func(name string) {
		t.Helper()
		if current != "" {
			end()
		}
		current = name
	}
}
