package awake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/awake"
)

// While the process runs, a limit is over exactly when it is due.
func TestLimits(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 15, 16, 17, time.Second + 7} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := awake.WithTimeout(t.Context(), d)
			defer cancel()
			<-ctx.Done()
			if took := time.Since(began); took != d || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("%v: it ended after %v by %v", d, took, context.Cause(ctx))
			}
		})
	}
}

// A limit that was stopped calls nothing, whenever it was stopped.
func TestStop(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, time.Second / 2, time.Second - 1} {
		synctest.Test(t, func(t *testing.T) {
			stop := awake.AfterFunc(time.Second, func() { t.Errorf("called although it was stopped after %v", after) })
			time.Sleep(after)
			stop()
			time.Sleep(time.Minute)
		})
	}
}

// A context that is canceled, or whose parent is, says so.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		parent, cancelParent := context.WithCancelCause(t.Context())
		one, cancel := awake.WithTimeout(parent, time.Second)
		two, cancelTwo := awake.WithTimeout(parent, time.Second)
		defer cancelTwo()
		cancel()
		cancelParent(gone)
		time.Sleep(time.Minute)
		if !errors.Is(context.Cause(one), context.Canceled) || !errors.Is(context.Cause(two), gone) {
			t.Errorf("they ended by %v and %v", context.Cause(one), context.Cause(two))
		}
	})
}
