package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
)

// Interval is the usual time between two runs of a [Job]. At this interval a run is a few batches,
// because its data is kept for days.
const Interval = time.Minute

// Job deletes data that has been kept long enough or is left over.
type Job struct {
	// Name is the value of the log key "job".
	Name string
	// Do deletes the data, and returns the number of rows or files.
	Do func(ctx context.Context) (int, error)
}

// Regularly runs a job at once and then at every interval, until ctx ends. It logs failures
// and tries again at the next interval.
func Regularly(ctx context.Context, log *slog.Logger, every time.Duration, j Job) {
	for {
		n, err := j.Do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.ErrorContext(ctx, "background job failed", "job", j.Name, "error", faults.Text(err))
		case n > 0:
			log.InfoContext(ctx, "background job done", "job", j.Name, "deleted", n)
		}
		if !pause(ctx, time.Now, every, nil) {
			return
		}
	}
}
