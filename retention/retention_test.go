package retention_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/retention"
)

type trimmer struct {
	calls  []time.Time
	answer error
}

func (t *trimmer) TrimLog(context.Context) (int, error) {
	t.calls = append(t.calls, time.Now())
	return 1, t.answer
}

func TestTrimLogRunsAtOnceAndAtEveryIntervalAlsoAfterAFailure(t *testing.T) {
	for name, failure := range map[string]error{"works": nil, "fails": errors.New("disk")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				job := &trimmer{answer: failure}
				done := make(chan struct{})
				go func() {
					retention.TrimLog(ctx, slog.New(slog.DiscardHandler), job, time.Minute)
					close(done)
				}()
				time.Sleep(2*time.Minute + time.Second) // the bubble's clock, not ours
				cancel()
				<-done
				if len(job.calls) != 3 {
					t.Fatalf("cut %d times in two minutes, want at 0, 1 and 2", len(job.calls))
				}
				for i, at := range job.calls {
					if got, want := at.Sub(began), time.Duration(i)*time.Minute; got != want {
						t.Errorf("cut %d came after %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}
