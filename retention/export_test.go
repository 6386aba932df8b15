package retention

import "time"

// SetClock gives timers another clock on the wall. Call it before Run.
func (t *Timers) SetClock(now func() time.Time) { t.now = now }

// SetClock gives a cleanup another clock on the wall. Call it before Run.
func (j *Cleanup) SetClock(now func() time.Time) { j.now = now }
