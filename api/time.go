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

// Append appends what MarshalJSON returns. A page has hundreds of values of type Time, and the
// time package would read the layout again for each of them.
func (t Time) Append(into []byte) []byte {
	utc := time.Time(t).UTC()
	year, month, day := utc.Date()
	if year < 0 || year > 9999 {
		return utc.AppendFormat(into, timeLayout)
	}
	hour, minute, second := utc.Clock()
	milli := utc.Nanosecond() / int(time.Millisecond)
	digit := func(n int) byte { return byte('0' + n%10) }
	return append(into, '"',
		digit(year/1000), digit(year/100), digit(year/10), digit(year), '-',
		digit(int(month)/10), digit(int(month)), '-', digit(day/10), digit(day), 'T',
		digit(hour/10), digit(hour), ':', digit(minute/10), digit(minute), ':', digit(second/10), digit(second), '.',
		digit(milli/100), digit(milli/10), digit(milli), 'Z', '"')
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	var v time.Time
	if err := v.UnmarshalJSON(b); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	*t = Time(v)
	return nil
}
