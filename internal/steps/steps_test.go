package steps

import (
	"fmt"
	"slices"
	"testing"
)

// failing is a test that fails on demand.
type failing struct {
	testing.TB
	failed  bool
	cleanup func()
	logs    []string
}

func (f *failing) Helper()           {}
func (f *failing) Failed() bool      { return f.failed }
func (f *failing) Cleanup(fn func()) { f.cleanup = fn }
func (f *failing) Logf(format string, args ...any) {
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}

func TestTheFirstFailedStepIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		failsIn string
		want    []string
	}{
		"none":   {"", nil},
		"first":  {"one", []string{`failed in the step "one"`}},
		"second": {"two", []string{`failed in the step "two"`}},
		"last":   {"three", []string{`failed in the step "three"`}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failing{TB: t}
			step := Begin(f)
			for _, name := range []string{"one", "two", "three"} {
				step(name)
				f.failed = f.failed || name == c.failsIn
			}
			f.cleanup()
			if !slices.Equal(f.logs, c.want) {
				t.Errorf("logged %q, want %q", f.logs, c.want)
			}
		})
	}
}
