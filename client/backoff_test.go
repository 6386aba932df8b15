package client

import (
	"strconv"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	tests := map[string]struct {
		base, most time.Duration
		want       []time.Duration // without the random part
	}{
		"doubles":                               {time.Second, 10 * time.Second, []time.Duration{1e9, 2e9, 4e9, 8e9, 10e9, 10e9}},
		"the server sets more than the maximum": {20 * time.Second, 10 * time.Second, []time.Duration{20e9, 20e9, 20e9}},
		"the server sets 0":                     {0, time.Second, []time.Duration{leastBackoff, 2 * leastBackoff}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				b := backoff{base: tt.base, most: tt.most}
				for i, want := range tt.want {
					if got := b.next(); got < want || got > want+want/2 {
						t.Fatalf("wait %d is %v, want %v to half more", i, got, want)
					}
				}
				b.reset()
				if got := b.next(); got > max(tt.base, leastBackoff)*3/2 {
					t.Fatalf("after a success it is %v", got)
				}
			}
		})
	}
}

func TestBackoffIsSpread(t *testing.T) {
	waits := map[time.Duration]bool{}
	for range 20 {
		b := backoff{base: time.Second, most: time.Minute}
		waits[b.next()] = true
	}
	if len(waits) < 10 {
		t.Errorf("only %d different waits", len(waits))
	}
}

func TestSeenIsBounded(t *testing.T) {
	s := newSeen()
	for i := range 5 * seenEvents {
		id := strconv.Itoa(i)
		if !s.add(id) || s.add(id) {
			t.Fatalf("%s: not new the first time, or new the second time", id)
		}
		if len(s.ids) > seenEvents || len(s.ring) > seenEvents {
			t.Fatalf("holds %d ids", len(s.ids))
		}
	}
	if s.add(strconv.Itoa(4 * seenEvents)) {
		t.Error("the oldest of the latest ids was dropped")
	}
	if !s.add("0") {
		t.Error("the first id was kept")
	}
}
