package im

import "time"

// AllowRemoval is allowRemoval, for its table.
var AllowRemoval = allowRemoval

// SetStep sets how long a step of long work may take; 0 has each do one thing.
func SetStep(s *Service, d time.Duration) { s.step = d }

// MostInLine is mostInLine.
const MostInLine = mostInLine

// SetElapsed gives the guard of the clock another steady clock. Call it first.
func (s *Service) SetElapsed(elapsed func() time.Duration) {
	s.guard.elapsed = func(time.Time) time.Duration { return elapsed() }
}
