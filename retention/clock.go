package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// Watcher checks the clock; it is [im.Service].
type Watcher interface {
	WatchClock(ctx context.Context) (im.ClockState, error)
}

var _ Watcher = (*im.Service)(nil)

// WatchClock checks the clock at once and then every 15 s, until ctx ends. It logs when
// the clock jumped ahead so far that nothing is trimmed for some time, and when the clock is
// trusted again.
func WatchClock(ctx context.Context, log *slog.Logger, w Watcher) {
	var before im.ClockState
	for {
		state, err := w.WatchClock(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.ErrorContext(ctx, "state of the clock not stored", "error", faults.Text(err))
		}
		switch {
		case state.Held > before.Held: // it has jumped, perhaps once more
			log.ErrorContext(ctx,
				"THE CLOCK JUMPED AHEAD: nothing is trimmed for now; if it is wrong, correct it before held_for has passed",
				"jumped_by", state.Jump.Round(time.Second), "held_for", state.Held.Round(time.Second))
		case state.Held == 0 && before.Held > 0:
			log.WarnContext(ctx, "the clock is trusted again: messages past retention are trimmed",
				"jumped_by", before.Jump.Round(time.Second))
		}
		before = state
		if !pause(ctx, time.Now, maxSleep, nil) {
			return
		}
	}
}
