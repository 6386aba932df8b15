package im

import "time"

// Rules and ids, for table tests.
var (
	Allow           = allow
	AllowRemoval    = allowRemoval
	RandomID        = randomID
	NewDataStreamID = newDataStreamID
)

// SetStep sets the duration of a step of long work; with 0 each step does one thing.
func SetStep(s *Service, d time.Duration) { s.step = d }

// SetLongestInLine sets the longest time that a long request waits for the earlier ones of its user.
func SetLongestInLine(s *Service, d time.Duration) { s.inLine.longest = d }

// SetListed sets the number of conversations that one read of a list checks.
func SetListed(s *Service, n int) { s.listed = n }

// MostInLine exports mostInLine.
const MostInLine = mostInLine

// SetElapsed replaces the monotonic clock of the clock's guard. Call it first.
func (s *Service) SetElapsed(elapsed func() time.Duration) {
	s.guard.elapsed = func(time.Time) time.Duration { return elapsed() }
}

// NewAccess returns the access of a user with this membership, for table tests.
func NewAccess(m Membership, can Permissions) Access {
	return Access{user: m.User, can: can}.with(m)
}
