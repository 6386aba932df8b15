package api

import (
	"fmt"
	"time"
)

// Time is a point in time as the contract writes it: RFC 3339 in UTC, always
// with milliseconds.
type Time time.Time

const timeLayout = `"2006-01-02T15:04:05.000Z"`

// MarshalJSON writes the time, cut to the millisecond.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.Append(make([]byte, 0, len(timeLayout))), nil
}

// Append appends what MarshalJSON returns.
func (t Time) Append(into []byte) []byte { return time.Time(t).UTC().AppendFormat(into, timeLayout) }

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	var v time.Time
	if err := v.UnmarshalJSON(b); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	*t = Time(v)
	return nil
}
