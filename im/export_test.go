package im

import "time"

// AllowRemoval is allowRemoval, for its table.
var AllowRemoval = allowRemoval

// SetStep sets how long a step of long work may take; 0 has each do one thing.
func SetStep(s *Service, d time.Duration) { s.step = d }

// MostInLine is mostInLine.
const MostInLine = mostInLine
