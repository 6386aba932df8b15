// Package retention runs the jobs that let go of what has been kept long
// enough: [TrimLog] of events, [Timers] of messages whose time has come. What is
// to go is decided in package im; here is only when to look.
package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// LogInterval is how often the event log is cut: often enough that a cut is a
// few batches, for the log's length is counted in days.
const LogInterval = time.Minute

// Trimmer cuts the event log; it is [im.Service].
type Trimmer interface {
	TrimLog(ctx context.Context) (int, error)
}

var _ Trimmer = (*im.Service)(nil)

// TrimLog cuts the event log at once and then at every interval, until ctx
// ends. A cut that fails is logged, and tried again at the next one.
func TrimLog(ctx context.Context, log *slog.Logger, t Trimmer, every time.Duration) {
	for {
		n, err := t.TrimLog(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.LogAttrs(ctx, slog.LevelError, "event log not cut", slog.String("error", faults.Text(err)))
		case n > 0:
			log.LogAttrs(ctx, slog.LevelInfo, "event log cut", slog.Int("events", n))
		}
		if !pause(ctx, time.Now, every, nil) {
			return
		}
	}
}
