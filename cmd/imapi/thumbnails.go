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

// thumbnailsCommand runs this program as the process in which a server makes thumbnails. It is not
// for people, so the help does not list it.
const thumbnailsCommand = "make-thumbnails"

// makeThumbnails is the main function of that process. It ends when its input does, even if the
// server is killed.
func makeThumbnails(_ context.Context, _ []string, out, _ io.Writer) error {
	return thumbnail.Serve(os.Stdin, out)
}

// useThumbnails makes the service create thumbnails in a process of this program.
func (n *node) useThumbnails() error {
	path := "/proc/self/exe" // works even after the file was replaced by a newer version
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

// observeThumbnail counts a thumbnail that was made or has failed, or an attempt that did neither.
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

// maxCountedThumbnails bounds the count that a scrape of the metrics costs.
const maxCountedThumbnails = 10_000

// waitingThumbnails returns the number of waiting thumbnails, at most maxCountedThumbnails, for the
// metrics. If they cannot be counted it returns 0.
func (n *node) waitingThumbnails() float64 {
	waiting, err := n.service.WaitingThumbnails(context.Background(), maxCountedThumbnails)
	if err != nil {
		return 0
	}
	return float64(waiting)
}
