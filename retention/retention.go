// Package retention runs the jobs that let go of what has been kept long
// enough: [Regularly] for the event log and what is remembered, [Timers] of messages
// whose time has come, [Cleanup] of what is past retention. What is to go is decided in
// package im; here is only when to look.
package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
)

// Interval is how often a [Job] is done: often enough that each time is a few
// batches, for what they remove is kept for days.
const Interval = time.Minute

// Job removes what has been kept long enough.
type Job struct {
	// Do removes it and returns how much that was.
	Do func(ctx context.Context) (int, error)
	// Done and Failed are what the log says.
	Done, Failed string
}

// Regularly does a job at once and then at every interval, until ctx ends. If it
// fails, that is logged, and it is tried again at the next one.
func Regularly(ctx context.Context, log *slog.Logger, every time.Duration, j Job) {
	for {
		n, err := j.Do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.LogAttrs(ctx, slog.LevelError, j.Failed, slog.String("error", faults.Text(err)))
		case n > 0:
			log.LogAttrs(ctx, slog.LevelInfo, j.Done, slog.Int("removed", n))
		}
		if !pause(ctx, time.Now, every, nil) {
			return
		}
	}
}
