// Package testsize selects how much work a test does. `make test` runs the tests with -short:
// models take fewer steps, loops that kill the server kill it less often. `make test-all` runs them
// at full length. Both run every test.
package testsize

import "testing"

// Pick returns short in a run with -short, and full otherwise.
func Pick[T any](full, short T) T {
	if testing.Short() {
		return short
	}
	return full
}
