package retention_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/retention"
)

// watched is a clock that is not trusted between two times.
type watched struct{ from, to time.Time }

func (w watched) WatchClock(context.Context) (im.ClockState, error) {
	now := time.Now()
	if now.Before(w.from) || !now.Before(w.to) {
		return im.ClockState{}, nil
	}
	return im.ClockState{Jump: 48 * time.Hour, Held: w.to.Sub(now)}, nil
}

// lockedBuffer is a buffer for concurrent use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A jump and its end are each logged once, within 15 s.
func TestWatchClock(t *testing.T) {
	for name, from := range map[string]time.Duration{"at the start": 0, "while running": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out lockedBuffer
				ctx, cancel := context.WithCancel(t.Context())
				at := time.Now().Add(from)
				done := make(chan struct{})
				go func() {
					retention.WatchClock(ctx, slog.New(slog.NewTextHandler(&out, nil)), watched{at, at.Add(time.Hour)})
					close(done)
				}()
				lines := func(after time.Duration, want int, says string) {
					t.Helper()
					<-time.After(time.Until(at.Add(after)))
					synctest.Wait()
					text := out.String()
					if strings.Count(text, "\n") != want || !strings.Contains(text, says) {
						t.Errorf("%v after the jump the log is %q", after, text)
					}
				}
				lines(16*time.Second, 1, "THE CLOCK JUMPED AHEAD")
				lines(59*time.Minute, 1, "held_for=")
				lines(time.Hour+16*time.Second, 2, "trusted again")
				lines(24*time.Hour, 2, "jumped_by=48h0m0s")
				cancel()
				<-done
			})
		})
	}
}
