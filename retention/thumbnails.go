package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// ThumbnailMaker makes thumbnails; it is [im.Service].
type ThumbnailMaker interface {
	// MakeThumbnails makes the waiting thumbnails.
	MakeThumbnails(ctx context.Context, done func(im.ThumbnailState, time.Duration)) error
	// ThumbnailsWaiting returns a channel that receives a value when a thumbnail may be waiting.
	ThumbnailsWaiting() <-chan struct{}
}

var _ ThumbnailMaker = (*im.Service)(nil)

// thumbnailRetry is the longest wait between two runs, and so for another attempt after an error.
const thumbnailRetry = 30 * time.Second

// Thumbnails makes thumbnails of uploaded pictures outside of requests. Waiting thumbnails are in
// the store, so they are found again after a restart.
type Thumbnails struct {
	maker ThumbnailMaker
	log   *slog.Logger
	done  func(im.ThumbnailState, time.Duration)
}

// NewThumbnails returns a job that does nothing until Run. done is called with the state of each
// thumbnail and the time that making it took.
func NewThumbnails(log *slog.Logger, m ThumbnailMaker, done func(im.ThumbnailState, time.Duration)) *Thumbnails {
	return &Thumbnails{maker: m, log: log, done: done}
}

// Run makes thumbnails at once and whenever one is waiting, until ctx ends. It logs failures
// and tries again within 30 s. Call it once.
func (j *Thumbnails) Run(ctx context.Context) {
	for {
		if err := j.maker.MakeThumbnails(ctx, j.done); err != nil && ctx.Err() == nil {
			j.log.WarnContext(ctx, "thumbnails not made", "error", faults.Text(err), "again_in", thumbnailRetry)
		}
		if !pause(ctx, time.Now, thumbnailRetry, j.maker.ThumbnailsWaiting()) {
			return
		}
	}
}
