package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// A failing store is not asked more often because there are new events.
func TestPauseAfterFailureOfStore(t *testing.T) {
	timer := make(chan time.Time, 1)
	d := New(Options{Logger: slog.New(slog.DiscardHandler), After: func(time.Duration) <-chan time.Time { return timer }})
	e := newEndpoint(context.Background(), d, im.ActiveWebhook{})
	defer e.cut()
	for range 64 { // of cases that are ready, select takes one at random
		signal(e.wake)
		timer <- time.Time{}
		e.pause(errors.New("the disk is full"))
		if len(timer) != 0 {
			t.Fatal("the wait ended with an event, before its time")
		}
	}
}
