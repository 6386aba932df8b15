package retention_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/retention"
)

// cleaner records its calls.
type cleaner struct {
	mu      sync.Mutex
	did     []string
	fails   error
	trimmed im.RetentionOf
}

func (c *cleaner) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.did = append(c.did, what)
}

func (c *cleaner) Purge(context.Context) error {
	c.note("purge")
	return c.fails
}

func (c *cleaner) Trim(_ context.Context, asOf time.Time, report func(im.RetentionOf) error) error {
	if !asOf.IsZero() {
		return errors.New("the job trims as of now")
	}
	c.note("trim")
	if c.trimmed.Messages > 0 {
		_ = report(c.trimmed)
	}
	return c.fails
}

var round = []string{"purge", "trim"}

// running runs a job in a bubble until a function of the test returns.
func running(t *testing.T, c *cleaner, removed func(int64), fn func(*retention.Cleanup)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		job := retention.NewCleanup(slog.New(slog.DiscardHandler), c, time.Minute, removed)
		done := make(chan struct{})
		go func() { job.Run(ctx); close(done) }()
		synctest.Wait()
		fn(job)
		cancel()
		<-done
	})
}

func (c *cleaner) want(t *testing.T, what string, rounds int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := slices.Repeat(round, rounds); !slices.Equal(c.did, want) {
		t.Errorf("%s: did %v, want %d rounds", what, c.did, rounds)
	}
}

func TestCleanupRunsAtOnceAndAtEveryTickEvenAfterAFailure(t *testing.T) {
	for name, failure := range map[string]error{"works": nil, "fails": errors.New("disk")} {
		t.Run(name, func(t *testing.T) {
			c := &cleaner{fails: failure}
			running(t, c, nil, func(*retention.Cleanup) {
				c.want(t, "at once", 1)
				time.Sleep(2*time.Minute + time.Second) // the bubble's clock, not real time
				synctest.Wait()
				c.want(t, "after two ticks", 3)
			})
		})
	}
}

func TestWhichCommitsWakeCleanup(t *testing.T) {
	for name, tt := range map[string]struct {
		event im.Event
		wakes bool
	}{
		"a conversation deleted":    {im.Event{Type: im.ConversationDeleted}, true},
		"a thread deleted":          {im.Event{Type: im.ThreadDeleted}, true},
		"a channel deleted":         {im.Event{Type: im.ChannelDeleted}, true},
		"a space deleted":           {im.Event{Type: im.SpaceDeleted}, true},
		"settings changed":          {im.Event{Type: im.ConversationUpdated}, true},
		"a channel's settings":      {im.Event{Type: im.ChannelUpdated}, true},
		"a thread's activity":       {im.Event{Type: im.ThreadUpdated}, false},
		"a space's settings":        {im.Event{Type: im.SpaceUpdated}, false},
		"one's own settings":        {im.Event{Type: im.ConversationUpdated, To: "alice"}, false},
		"a message":                 {im.Event{Type: im.MessageCreated}, false},
		"a conversation trimmed":    {im.Event{Type: im.ConversationTrimmed}, false},
		"a conversation was hidden": {im.Event{Type: im.ConversationHidden, To: "alice"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cleaner{}
			running(t, c, nil, func(job *retention.Cleanup) {
				job.Committed(im.Commit{Events: []im.Event{tt.event}})
				synctest.Wait()
				rounds := 1
				if tt.wakes {
					rounds = 2
				}
				c.want(t, name, rounds)
			})
		})
	}
}

func TestCleanupReportsTrimmedMessages(t *testing.T) {
	c := &cleaner{trimmed: im.RetentionOf{Messages: 7}}
	var removed int64
	running(t, c, func(n int64) { removed += n }, func(*retention.Cleanup) {})
	if removed != 7 {
		t.Errorf("reported %d messages, want 7", removed)
	}
}

// If the clock is set past the time of the next run, the run begins within 15 s. Setting the clock
// back does not delay the run.
func TestCleanupFollowsTheWallClock(t *testing.T) {
	for name, tt := range map[string]struct {
		jump time.Duration // just after 30 minutes
		at   time.Duration // the time of the second run
	}{
		"right":       {0, time.Hour},
		"set forward": {2 * time.Hour, 30*time.Minute + 15*time.Second},
		"set back":    {-2 * time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				c := &cleaner{}
				job := retention.NewCleanup(slog.New(slog.DiscardHandler), c, time.Hour, nil)
				job.SetClock(func() time.Time {
					now := time.Now()
					if now.Sub(start) > 30*time.Minute {
						now = now.Round(0).Add(tt.jump)
					}
					return now
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { job.Run(ctx); close(done) }()
				<-time.After(tt.at - time.Second)
				synctest.Wait()
				c.want(t, "before", 1)
				<-time.After(2 * time.Second)
				synctest.Wait()
				c.want(t, "after", 2)
				cancel()
				<-done
			})
		})
	}
}
