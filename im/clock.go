package im

import (
	"context"
	"sync"
	"time"
)

// The clock on the wall may be wrong, and what is removed by its time is gone. So
// nothing is removed by it for a while after it was seen to jump ahead: somebody may
// set it right again.

// clockJump is by how much the clock has to jump ahead not to be trusted.
const clockJump = day

// seenEvery is how often it is stored what the clock shows: often enough to tell a
// jump of a day across a restart.
const seenEvery = time.Minute

// ClockState says whether the clock is trusted.
type ClockState struct {
	// Jump is by how much the clock jumped ahead, and Held for how much longer nothing
	// is removed by its time because of that. Both are 0 while it is trusted.
	Jump, Held time.Duration
}

// clockGuard sees jumps of the clock on the wall, against one that runs steadily and
// against what it showed before a restart.
type clockGuard struct {
	hold time.Duration
	// elapsed is how long the guard has been there at a time, by the steady clock.
	elapsed func(now time.Time) time.Duration
	start   time.Time

	mu sync.Mutex
	// seen is what the clock showed before the restart, zero if that is not known or
	// was looked at.
	seen time.Time
	// least is by how much the clock on the wall was ahead of the steady one at the
	// least, since the last jump.
	least time.Duration
	jump  time.Duration
	until time.Duration // by the steady clock
	put   time.Duration // when it was last stored what the clock shows; see storeSeen
}

// newClockGuard returns a guard of the clock that shows now. A reading that has the
// steady clock in it, as that of [time.Now] does, is measured by that.
func newClockGuard(hold time.Duration, now, seen time.Time) *clockGuard {
	g := &clockGuard{hold: hold, start: now, seen: seen, put: -seenEvery}
	g.elapsed = func(now time.Time) time.Duration { return now.Sub(g.start) }
	return g
}

// look compares what the clock shows with what it should show.
func (g *clockGuard) look(now time.Time) ClockState {
	g.mu.Lock()
	defer g.mu.Unlock()
	elapsed := g.elapsed(now)
	ahead := now.Round(0).Sub(g.start.Round(0)) - elapsed
	jump := ahead - g.least
	if !g.seen.IsZero() {
		jump = max(jump, now.Round(0).Sub(g.seen))
		g.seen = time.Time{}
	}
	g.least = min(g.least, ahead)
	if jump > clockJump {
		g.jump, g.until, g.least = jump, elapsed+g.hold, ahead
	}
	if elapsed >= g.until {
		return ClockState{}
	}
	return ClockState{Jump: g.jump, Held: g.until - elapsed}
}

// storeSeen reports whether it is time to store what the clock shows.
func (g *clockGuard) storeSeen(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	elapsed := g.elapsed(now)
	due := elapsed-g.put >= seenEvery
	if due {
		g.put = elapsed
	}
	return due
}

// Clock reports whether the clock is trusted now.
func (s *Service) Clock() ClockState { return s.guard.look(s.now()) }

// WatchClock is Clock, and stores what the clock shows now and then, so that a jump is
// seen across a restart. While the clock is not trusted it does not: a restart then
// begins to wait anew.
func (s *Service) WatchClock(ctx context.Context) (ClockState, error) {
	state := s.Clock()
	now := s.now()
	if state.Held > 0 || !s.guard.storeSeen(now) {
		return state, nil
	}
	return state, s.store.Write(ctx, func(tx Tx) error { return tx.PutClockSeen(now) })
}

// holds reports whether nothing must be removed by the time of the clock. What is to
// be removed has to be decided before it is asked: then a jump in between does no harm.
func (s *Service) holds() bool { return s.Clock().Held > 0 }

// errClockJumped is the answer to who asks for what the clock is not trusted with.
func (s *Service) errClockJumped() error {
	state := s.Clock()
	return Refuse(Conflict, "clock_jumped", "the clock of the server jumped ahead by %s: nothing is removed by its time for another %s",
		state.Jump.Round(time.Second), state.Held.Round(time.Second))
}
