package retention

import "time"

// SetClock gives timers another clock on the wall. Call it before Run.
func (t *Timers) SetClock(now func() time.Time) { t.now = now }
