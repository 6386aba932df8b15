package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// Cleaner trims and purges; it is [im.Service].
type Cleaner interface {
	// Purge deletes what is left of deleted conversations.
	Purge(ctx context.Context) error
	// Trim deletes messages that are past retention.
	Trim(ctx context.Context, asOf time.Time, trimmed func(im.RetentionOf) error) error
}

var _ Cleaner = (*im.Service)(nil)

// Cleanup trims messages past retention and purges deleted conversations, at every interval
// and when it is woken. Readers do not depend on it, because what it deletes is already unreadable.
type Cleanup struct {
	cleaner Cleaner
	log     *slog.Logger
	every   time.Duration
	now     func() time.Time
	removed func(messages int64)
	wake    chan struct{}
}

// NewCleanup returns a job that does nothing until Run. removed, which may be nil, is called for
// each trimmed conversation with the number of its trimmed messages.
func NewCleanup(log *slog.Logger, c Cleaner, every time.Duration, removed func(int64)) *Cleanup {
	if removed == nil {
		removed = func(int64) {}
	}
	return &Cleanup{cleaner: c, log: log, every: every, now: time.Now, removed: removed, wake: make(chan struct{}, 1)}
}

// Committed wakes the job if the commit deleted a conversation or space, or may have
// shortened a retention. It does not block.
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

// Run cleans up at once and then at every interval and wake-up, until ctx ends. It logs
// failures and tries again at the next interval or wake-up. Call it once.
func (j *Cleanup) Run(ctx context.Context) {
	for {
		j.once(ctx)
		if !pause(ctx, j.now, j.every, j.wake) {
			return
		}
	}
}

// once purges and trims. Neither depends on the success of the other.
func (j *Cleanup) once(ctx context.Context) {
	if err := j.cleaner.Purge(ctx); err != nil && ctx.Err() == nil {
		j.log.ErrorContext(ctx, "deleted conversations not purged", "error", faults.Text(err))
	}
	err := j.cleaner.Trim(ctx, time.Time{}, func(of im.RetentionOf) error {
		j.removed(of.Messages)
		j.log.DebugContext(ctx, "messages past retention trimmed", "messages", of.Messages)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		j.log.ErrorContext(ctx, "messages past retention not trimmed", "error", faults.Text(err))
	}
}
