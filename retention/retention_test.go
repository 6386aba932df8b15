package retention_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/retention"
)

func TestRegularlyRunsAtOnceAndAtIntervals(t *testing.T) {
	for name, failure := range map[string]error{"works": nil, "fails": errors.New("disk full")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				var calls []time.Time
				var out bytes.Buffer
				job := retention.Job{Name: "test", Do: func(context.Context) (int, error) {
					calls = append(calls, time.Now())
					return 1, failure
				}}
				done := make(chan struct{})
				go func() {
					retention.Regularly(ctx, slog.New(slog.NewTextHandler(&out, nil)), time.Minute, job)
					close(done)
				}()
				time.Sleep(2*time.Minute + time.Second) // the bubble's clock, not real time
				cancel()
				<-done
				if len(calls) != 3 {
					t.Fatalf("done %d times in two minutes, want at 0, 1 and 2", len(calls))
				}
				for i, at := range calls {
					if got, want := at.Sub(began), time.Duration(i)*time.Minute; got != want {
						t.Errorf("run %d came after %v, want %v", i, got, want)
					}
				}
				want := "background job done"
				if failure != nil {
					want = "disk full"
				}
				if n := strings.Count(out.String(), want); n != 3 {
					t.Errorf("logged %q", out.String())
				}
			})
		})
	}
}
