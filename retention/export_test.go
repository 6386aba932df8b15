package retention

import "time"

// SetClock sets the wall clock of timers. Call it before Run.
func (t *Timers) SetClock(now func() time.Time) { t.now = now }

// SetClock sets the wall clock of a cleanup. Call it before Run.
func (j *Cleanup) SetClock(now func() time.Time) { j.now = now }
