package im_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage"
)

// clocks are the wall clock and the monotonic clock of a world.
type clocks struct {
	*world
	steady time.Duration
}

// withClocks returns a world with three days of retention, whose clock can jump.
func withClocks(t *testing.T) *clocks {
	policy := im.DefaultPolicy()
	policy.Retention, policy.CutRetention = 3*day, day
	c := &clocks{world: newWorldWith(t, policy)}
	c.SetElapsed(func() time.Duration { return c.steady })
	return c
}

// elapse lets time pass on both clocks.
func (c *clocks) elapse(d time.Duration) {
	c.pass(d)
	c.steady += d
}

// held returns the time for which nothing is trimmed.
func (c *clocks) held() time.Duration { return c.Clock().Held }

// After the clock has jumped ahead, nothing is trimmed by its time for an hour, but messages past
// retention by its time cannot be read.
func TestClockJumps(t *testing.T) {
	c := withClocks(t)
	d := text("kept")
	d.ClientID = "x"
	sent, err := c.Send(c.ctx, as("alice"), direct("bob"), d)
	c.must(err)
	_, err = c.CutTokens(c.ctx, root, "bob")
	c.must(err)
	c.elapse(time.Hour)
	c.equal("trusted", c.Clock(), im.ClockState{})
	before := len(c.replay(as("bob"), 0, 100))

	jump := 30 * day
	c.pass(jump)
	c.equal("not trusted", c.Clock(), im.ClockState{Jump: jump, Held: time.Hour})
	c.equal("hidden at once", len(c.said("bob", direct("alice"))), 0)
	removed := func() []any {
		c.must(c.Trim(c.ctx, time.Time{}, nil))
		events, err := c.TrimLog(c.ctx)
		c.must(err)
		cuts, _, err := c.ForgetCuts(c.ctx)
		c.must(err)
		_, there, err := func() (im.Message, bool, error) {
			var m im.Message
			err := c.store.View(c.ctx, func(r im.Reader) (err error) {
				list, err := r.Taken([]im.ID{sent.Message.ID})
				if len(list) > 0 {
					m.ID = list[0]
				}
				return err
			})
			return m, m.ID != 0, err
		}()
		c.must(err)
		return []any{!there, events > 0, cuts > 0}
	}
	c.equal("removed", removed(), []any{false, false, false})
	c.equal("by an admin", answer(c.TrimAs(c.ctx, root, time.Time{}, nil)), "409 clock_jumped")
	longer := 90 * day
	_, err = c.UpdateConversation(c.ctx, as("alice"), direct("bob"), im.ConversationPatch{Retention: new(&longer)})
	c.equal("another retention, which would hide messages for good", answer(err), "409 clock_jumped")

	// The clock is corrected: everything is readable again, even after the hour.
	c.elapse(30 * time.Minute)
	c.pass(-jump)
	c.equal("still held", c.held(), 30*time.Minute)
	c.equal("readable again", c.said("bob", direct("alice")), []string{"kept"})
	c.elapse(30 * time.Minute)
	c.equal("trusted again", c.Clock(), im.ClockState{})
	c.equal("removed", removed(), []any{false, false, false})
	c.equal("events", len(c.replay(as("bob"), 0, 100)), before)

	// The clock is not corrected: messages past retention are trimmed after the hour.
	c.pass(jump)
	c.equal("removed", removed(), []any{false, false, false})
	c.elapse(time.Hour - time.Nanosecond)
	c.equal("removed", removed(), []any{false, false, false})
	c.elapse(time.Nanosecond)
	c.equal("removed after the hour", removed(), []any{true, true, true})
	c.equal("remembered", c.trySend("alice", direct("bob"), d), "410 message_gone")

	c.pass(30 * day)
	c.forget(0) // held
	c.equal("remembered", c.trySend("alice", direct("bob"), d), "410 message_gone")
	c.elapse(time.Hour)
	c.forget(1)
}

// TestWhichClockChangesAreJumps checks which changes of the clock count as jumps.
func TestWhichClockChangesAreJumps(t *testing.T) {
	for name, tt := range map[string]struct {
		jumps []time.Duration // an hour apart
		held  bool
	}{
		"no change":                             {nil, false},
		"ahead by a day":                        {[]time.Duration{day}, false},
		"ahead by more than a day":              {[]time.Duration{day + time.Millisecond}, true},
		"ahead by more than a day in two steps": {[]time.Duration{16 * time.Hour, 16 * time.Hour}, true},
		"back":                                  {[]time.Duration{-30 * day}, false},
		"back, then forward again":              {[]time.Duration{-30 * day, 30 * day}, true},
		"forward by hours and back, twice":      {[]time.Duration{20 * time.Hour, -20 * time.Hour, 20 * time.Hour, -20 * time.Hour}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := withClocks(t)
			for _, jump := range tt.jumps {
				c.Clock()
				c.elapse(time.Hour)
				c.pass(jump)
			}
			c.equal("held", c.held() > 0, tt.held)
			c.elapse(100 * day) // passing time is not a jump
			c.equal("held in the end", c.held(), time.Duration(0))
		})
	}
}

// Timers follow the clock at once: due messages are erased.
func TestTimersTrustTheClock(t *testing.T) {
	c := withClocks(t)
	d := text("short")
	d.ExpireAfter = 10 * day
	_, err := c.Send(c.ctx, as("alice"), direct("bob"), d)
	c.must(err)
	c.pass(11 * day)
	c.equal("held", c.held(), time.Hour)
	n, _, err := c.EraseDue(c.ctx)
	c.must(err)
	c.equal("erased", n, 1)
}

// A jump is noticed across a restart, and a second jump starts the wait again.
func TestClockJumpsAcrossARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	now, steady := epoch, time.Duration(0)
	// run is a run of the server; it returns the time for which nothing is trimmed.
	run := func(hold time.Duration, during func(*im.Service)) time.Duration {
		t.Helper()
		store, err := storage.Open(t.Context(), "", storage.Options{DataDir: dir, Synchronous: "normal"})
		if err != nil {
			t.Fatal(err)
		}
		policy := im.DefaultPolicy()
		policy.ClockGuard = hold
		s := im.NewService(store, policy, func() time.Time { return now })
		s.SetElapsed(func() time.Duration { return steady })
		state, err := s.WatchClock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if during != nil {
			during(s)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		return state.Held
	}
	live := func(d time.Duration) func(*im.Service) {
		return func(s *im.Service) {
			for end := steady + d; steady < end; {
				now, steady = now.Add(15*time.Second), steady+15*time.Second
				if _, err := s.WatchClock(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	expect := func(what string, got, want time.Duration) {
		t.Helper()
		if got != want {
			t.Errorf("%s: held for %v, want %v", what, got, want)
		}
	}
	expect("the first", run(time.Hour, live(30*day/10)), 0)
	now = now.Add(day - 2*time.Minute)
	expect("down for a day", run(time.Hour, nil), 0)
	now = now.Add(30 * day)
	expect("down for a month", run(time.Hour, live(30*time.Minute)), time.Hour)
	expect("restarted in the meantime", run(time.Hour, live(30*time.Minute)), time.Hour)
	expect("and again", run(time.Hour, live(61*time.Minute)), time.Hour)
	expect("restarted after it", run(time.Hour, nil), 0)
	now = now.Add(-60 * day)
	expect("set back", run(time.Hour, live(2*time.Minute)), 0)
	now = now.Add(60 * day)
	expect("and forward", run(time.Hour, nil), time.Hour)
	expect("switched off", run(0, nil), 0)
}
