package main

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/imapi/imapi/blobs/thumbnail"
	"github.com/imapi/imapi/im"
)

// thumbnailsCommand makes this program the process in which a server makes thumbnails. It is
// not for people, so the help does not have it.
const thumbnailsCommand = "make-thumbnails"

// makeThumbnails is that process. It ends when its input does, which a signal would not.
func makeThumbnails(_ context.Context, _ []string, out, _ io.Writer) error {
	return thumbnail.Serve(os.Stdin, out)
}

// useThumbnails has thumbnails made by a process of this program.
func (n *node) useThumbnails() error {
	path := "/proc/self/exe" // also when the file was replaced by a newer version
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			return err
		}
	}
	n.thumbnails = thumbnail.NewProcess(path, thumbnailsCommand)
	n.service.UseThumbnails(n.thumbnails)
	return nil
}

// observeThumbnail counts a thumbnail.
func (n *node) observeThumbnail(state im.ThumbnailState, took time.Duration) {
	result := "retried"
	switch state {
	case im.ThumbnailMade:
		result = "made"
	case im.ThumbnailFailed:
		result = "failed"
	case im.ThumbnailWaiting:
	}
	n.metrics.Thumbnail(result, took)
}

// maxCountedThumbnails bounds what a scrape counts.
const maxCountedThumbnails = 10_000

// waitingThumbnails returns how many thumbnails are waiting, for the metrics.
func (n *node) waitingThumbnails() float64 {
	waiting, err := n.service.WaitingThumbnails(context.Background(), maxCountedThumbnails)
	if err != nil {
		return 0
	}
	return float64(waiting)
}
