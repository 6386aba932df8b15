package im

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLongWorkWaitsForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := inLine{longest: longestInLine}
		done, err := l.enter(t.Context(), "eve")
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		_, err = l.enter(t.Context(), "eve")
		var refused *Error
		if !errors.As(err, &refused) || refused.Kind != Unavailable || refused.RetryAfter == 0 || time.Since(before) != longestInLine {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		done()
		if done, err = l.enter(t.Context(), "eve"); err != nil {
			t.Fatal(err)
		}
		if done(); len(l.lines) != 0 {
			t.Errorf("%d lines are left", len(l.lines))
		}
	})
}
