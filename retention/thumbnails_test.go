package retention_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/retention"
)

// maker counts its calls and returns an error if one is set.
type maker struct {
	calls atomic.Int64
	fails error
	wake  chan struct{}
}

func (m *maker) MakeThumbnails(_ context.Context, done func(im.ThumbnailState, time.Duration)) error {
	m.calls.Add(1)
	done(im.ThumbnailMade, time.Second)
	return m.fails
}

func (m *maker) ThumbnailsWaiting() <-chan struct{} { return m.wake }

func TestThumbnailsAreMadeAtOnceAndWhenTheyAreWaiting(t *testing.T) {
	for name, failure := range map[string]error{"works": nil, "fails": errors.New("disk")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &maker{fails: failure, wake: make(chan struct{}, 1)}
				var made atomic.Int64
				job := retention.NewThumbnails(slog.New(slog.DiscardHandler), m, func(im.ThumbnailState, time.Duration) { made.Add(1) })
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { job.Run(ctx); close(ended) }()
				want := func(what string, calls int64) {
					t.Helper()
					synctest.Wait()
					if called, made := m.calls.Load(), made.Load(); called != calls || made != calls {
						t.Errorf("%s: %d calls, %d thumbnails, want %d", what, called, made, calls)
					}
				}
				want("at the start", 1)
				m.wake <- struct{}{}
				want("when one is waiting", 2)
				time.Sleep(31 * time.Second)
				want("after a while", 3)
				cancel()
				<-ended
			})
		})
	}
}
