package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// Watcher looks at the clock; it is [im.Service].
type Watcher interface {
	WatchClock(ctx context.Context) (im.ClockState, error)
}

var _ Watcher = (*im.Service)(nil)

// WatchClock looks at the clock at once and then every 15 s, until ctx ends, and warns
// when it jumped ahead so far that nothing is removed by its time for a while.
func WatchClock(ctx context.Context, log *slog.Logger, w Watcher) {
	var before im.ClockState
	for {
		state, err := w.WatchClock(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.LogAttrs(ctx, slog.LevelError, "what the clock shows not stored", slog.String("error", faults.Text(err)))
		}
		switch {
		case state.Held > before.Held: // it jumped, perhaps again
			log.LogAttrs(ctx, slog.LevelError,
				"THE CLOCK JUMPED AHEAD: nothing is removed by its time for now; set it right if it is wrong, for then what it says is past retention goes",
				slog.Duration("by", state.Jump.Round(time.Second)), slog.Duration("held_for", state.Held.Round(time.Second)))
		case state.Held == 0 && before.Held > 0:
			log.LogAttrs(ctx, slog.LevelWarn, "the clock is trusted again: what is past retention by its time is removed",
				slog.Duration("jumped_by", before.Jump.Round(time.Second)))
		}
		before = state
		if !pause(ctx, time.Now, maxSleep, nil) {
			return
		}
	}
}
