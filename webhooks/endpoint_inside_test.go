package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// New events do not cause more queries of a failing store.
func TestPauseAfterFailureOfStore(t *testing.T) {
	timer := make(chan time.Time, 1)
	d := New(Options{Logger: slog.New(slog.DiscardHandler), After: func(time.Duration) <-chan time.Time { return timer }})
	e := newEndpoint(context.Background(), d, im.ActiveWebhook{})
	defer e.cut()
	for range 64 { // select chooses at random among the cases that are ready
		signal(e.wake)
		timer <- time.Time{}
		e.pause(errors.New("the disk is full"))
		if len(timer) != 0 {
			t.Fatal("the wait ended with an event, before its time")
		}
	}
}
