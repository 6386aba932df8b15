package im

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacerLearns(t *testing.T) {
	const most = 2 * time.Millisecond
	for name, test := range map[string]struct {
		took []time.Duration
		want int
	}{
		"begins with few":                     {nil, firstRows},
		"doubles while it is fast":            {[]time.Duration{0, 0}, 4 * firstRows},
		"does not exceed its limit":           {[]time.Duration{0, 0, 0, 0, 0, 0, 0, 0}, jobRows},
		"stays while it is in between":        {[]time.Duration{most, most / 2}, firstRows},
		"halves when it was slow":             {[]time.Duration{most + 1}, firstRows / 2},
		"does at least one row, however slow": {[]time.Duration{time.Hour, time.Hour, time.Hour, time.Hour, time.Hour}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPacer(jobRows)
			for _, took := range test.took {
				p.learn(took, most)
			}
			if p.rows != test.want {
				t.Errorf("%d rows, want %d", p.rows, test.want)
			}
		})
	}
}

func TestPauseAfter(t *testing.T) {
	for name, test := range map[string]struct{ took, want time.Duration }{
		"as long as the step":   {20 * time.Millisecond, 20 * time.Millisecond},
		"no longer than it may": {time.Hour, maxPause},
		"none":                  {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := PauseAfter(t.Context(), test.took)
				if paused := time.Since(began); err != nil || paused != test.want {
					t.Errorf("paused for %v, %v, want %v", paused, err, test.want)
				}
			})
		})
	}
	t.Run("ends with its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			stopped := errors.New("stopped")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Millisecond, func() { cancel(stopped) })
			if err := PauseAfter(ctx, time.Second); !errors.Is(err, stopped) {
				t.Errorf("got %v, want %v", err, stopped)
			}
		})
	})
}
