package im

import "time"

// AllowRemoval is allowRemoval, for its table.
var AllowRemoval = allowRemoval

// SetStep sets how long a step of long work may take; with 0 each step does one thing.
func SetStep(s *Service, d time.Duration) { s.step = d }

// SetListed sets how many conversations one read of a list checks.
func SetListed(s *Service, n int) { s.listed = n }

// MostInLine is mostInLine.
const MostInLine = mostInLine

// SetElapsed gives the guard of the clock another steady clock. Call it first.
func (s *Service) SetElapsed(elapsed func() time.Duration) {
	s.guard.elapsed = func(time.Time) time.Duration { return elapsed() }
}

// NewAccess returns the access of a user with this membership, for tables.
func NewAccess(m Membership, can Permissions) Access {
	return Access{user: m.User, can: can}.with(m)
}
