package im

import (
	"testing"
	"time"
)

func TestSearchQueryAdmits(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	m := Message{State: Active, Type: Text, CreatedAt: noon}
	erased := m
	erased.State = Revoked
	for name, test := range map[string]struct {
		q    SearchQuery
		m    Message
		want bool
	}{
		"no condition":        {SearchQuery{}, m, true},
		"erased":              {SearchQuery{}, erased, false},
		"of the type":         {SearchQuery{Type: Text}, m, true},
		"of another type":     {SearchQuery{Type: Location}, m, false},
		"at From":             {SearchQuery{From: noon}, m, true},
		"before From":         {SearchQuery{From: noon.Add(time.Nanosecond)}, m, false},
		"before To":           {SearchQuery{To: noon.Add(time.Nanosecond)}, m, true},
		"at To":               {SearchQuery{To: noon}, m, false},
		"between From and To": {SearchQuery{From: noon.Add(-time.Hour), To: noon.Add(time.Hour)}, m, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.q.Admits(test.m); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}
