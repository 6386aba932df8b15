package im

import (
	"context"
	"sync"
	"time"
)

// The wall clock may be wrong, and trimming by a wrong time cannot be undone. So after a jump ahead
// nothing is trimmed or forgotten for a while, which gives an operator time to correct the clock.

// clockJump is the smallest jump ahead after which the clock is not trusted.
const clockJump = day

// seenEvery is the interval at which the time of the clock is stored: often enough to detect a jump
// of a day across a restart.
const seenEvery = time.Minute

// ClockState says whether the clock is trusted.
type ClockState struct {
	// Jump is how far the clock jumped ahead, and Held the remaining time in which nothing is
	// trimmed or forgotten because of it. Both are 0 while the clock is trusted.
	Jump, Held time.Duration
}

// clockGuard detects jumps of the wall clock: against the monotonic clock, and against the
// time stored before a restart.
type clockGuard struct {
	hold time.Duration
	// elapsed returns the age of the guard at a time, by the monotonic clock.
	elapsed func(now time.Time) time.Duration
	start   time.Time

	mu sync.Mutex
	// seen is the time stored before the restart, zero if there is none or it was compared
	// already.
	seen time.Time
	// least is the smallest lead of the wall clock over the monotonic clock since the last jump.
	least time.Duration
	jump  time.Duration
	until time.Duration // the end of the hold, by the monotonic clock
	put   time.Duration // when the time was last stored, by the monotonic clock
}

// newClockGuard returns a guard whose clock shows now. It compares the monotonic readings of times
// that have one, like those of [time.Now].
func newClockGuard(hold time.Duration, now, seen time.Time) *clockGuard {
	g := &clockGuard{hold: hold, start: now, seen: seen, put: -seenEvery}
	g.elapsed = func(now time.Time) time.Duration { return now.Sub(g.start) }
	return g
}

// look compares the time of the clock with the expected time.
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

// storeSeen reports whether the time of the clock should be stored now.
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

// WatchClock is Clock, and stores the time of the clock once a minute, so that a jump is
// detected across a restart. While the clock is not trusted it stores nothing, so a restart
// does not end the hold. Any error is from the store.
func (s *Service) WatchClock(ctx context.Context) (ClockState, error) {
	state := s.Clock()
	now := s.now()
	if state.Held > 0 || !s.guard.storeSeen(now) {
		return state, nil
	}
	return state, s.store.Write(ctx, func(tx Tx) error { return tx.PutClockSeen(now) })
}

// holds reports whether nothing may be trimmed or forgotten by the time of the clock. A caller must
// read the time before calling holds: a time that is read afterwards may be from after a jump that
// holds has not seen.
func (s *Service) holds() bool { return s.Clock().Held > 0 }

// errClockJumped refuses a request that needs a trusted clock.
func (s *Service) errClockJumped() error {
	state := s.Clock()
	return Refuse(Conflict, "clock_jumped", "the clock of the server jumped ahead by %s: nothing is trimmed by its time for another %s",
		state.Jump.Round(time.Second), state.Held.Round(time.Second))
}
