package thumbnail

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imapi/imapi/im"
)

var _ im.ThumbnailMaker = (*Process)(nil)

// Thumbnail is [Process.Make] with the errors of package im.
func (p *Process) Thumbnail(ctx context.Context, file io.Reader, size int64) (im.MadeThumbnail, error) {
	t, err := p.Make(ctx, file, size)
	switch {
	case errors.Is(err, ErrFormat), errors.Is(err, ErrTooLarge):
		err = fmt.Errorf("%w: %w", im.ErrNoThumbnail, err)
	case errors.Is(err, ErrProcess):
		err = fmt.Errorf("%w: %w", im.ErrThumbnailLost, err)
	case errors.Is(err, ErrStart):
		err = fmt.Errorf("%w: %w", im.ErrThumbnailUnavailable, err)
	}
	return im.MadeThumbnail(t), err
}
