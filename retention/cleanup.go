package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// Cleaner removes what is kept no longer; it is [im.Service].
type Cleaner interface {
	// Purge destroys what deleted conversations held.
	Purge(ctx context.Context) error
	// Trim removes messages that are past retention.
	Trim(ctx context.Context, asOf time.Time, told func(im.RetentionOf) error) error
}

var _ Cleaner = (*im.Service)(nil)

// Cleanup has what is past retention and what was deleted removed, at every
// interval and when it is woken. Readers do not wait for it: what is to go cannot be
// read any more.
type Cleanup struct {
	cleaner Cleaner
	log     *slog.Logger
	every   time.Duration
	now     func() time.Time
	removed func(messages int64)
	wake    chan struct{}
}

// NewCleanup returns a job that does nothing until Run. removed is told how many
// messages went; nil tells nobody.
func NewCleanup(log *slog.Logger, c Cleaner, every time.Duration, removed func(int64)) *Cleanup {
	if removed == nil {
		removed = func(int64) {}
	}
	return &Cleanup{cleaner: c, log: log, every: every, now: time.Now, removed: removed, wake: make(chan struct{}, 1)}
}

// Committed wakes the job if the commit deleted a conversation of any kind, or may
// have made its retention shorter. It does not block.
func (j *Cleanup) Committed(c im.Commit) {
	for _, e := range c.Events {
		shared := (e.Type == im.ConversationUpdated || e.Type == im.ChannelUpdated) && e.To == ""
		if !shared && !e.Type.Deletes() {
			continue
		}
		select {
		case j.wake <- struct{}{}:
		default:
		}
		return
	}
}

// Run does at once what was left over, and then what there is to do, until ctx
// ends. What fails is logged, and tried again at the next interval. Call it once.
func (j *Cleanup) Run(ctx context.Context) {
	for {
		j.once(ctx)
		if !pause(ctx, j.now, j.every, j.wake) {
			return
		}
	}
}

// once does both, each whether or not the one before it failed.
func (j *Cleanup) once(ctx context.Context) {
	report := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			j.log.LogAttrs(ctx, slog.LevelError, what, slog.String("error", faults.Text(err)))
		}
	}
	report("deleted conversations not destroyed", j.cleaner.Purge(ctx))
	report("messages past retention not removed", j.cleaner.Trim(ctx, time.Time{}, func(of im.RetentionOf) error {
		j.removed(of.Messages)
		j.log.LogAttrs(ctx, slog.LevelDebug, "messages past retention removed", slog.Int64("messages", of.Messages))
		return nil
	}))
}
