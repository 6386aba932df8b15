package api

import (
	"testing"
	"time"
)

// TestTimesAreWritten compares what is written with what the time package writes.
func TestTimesAreWritten(t *testing.T) {
	times := []time.Time{
		{},
		time.Unix(0, 0),
		time.Date(-1, 2, 3, 4, 5, 6, 0, time.UTC),
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 23, 59, 59, 1_999_999, time.FixedZone("", -9*3600)),
	}
	for at := time.Date(1969, 12, 25, 1, 2, 3, 45_678_901, time.UTC); at.Year() < 2200; at = at.Add(1_234_567_891 * time.Microsecond * 1000) {
		times = append(times, at)
	}
	for _, at := range times {
		want := `"` + at.UTC().Format("2006-01-02T15:04:05.000Z") + `"`
		if got := string(Time(at).Append(nil)); got != want {
			t.Errorf("%v is written as %s, want %s", at, got, want)
		}
	}
}
