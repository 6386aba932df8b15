package client

import (
	"strconv"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	tests := []struct {
		base, most time.Duration
		want       []time.Duration // without what is added at random
	}{
		{time.Second, 10 * time.Second, []time.Duration{1e9, 2e9, 4e9, 8e9, 10e9, 10e9}},
		{20 * time.Second, 10 * time.Second, []time.Duration{20e9, 20e9, 20e9}}, // the server's wish wins
		{0, time.Second, []time.Duration{leastBackoff, 2 * leastBackoff}},
	}
	for _, tt := range tests {
		for range 100 {
			b := backoff{base: tt.base, most: tt.most}
			for i, want := range tt.want {
				if got := b.next(); got < want || got > want+want/2 {
					t.Fatalf("base %v, wait %d is %v, want from %v to half more", tt.base, i, got, want)
				}
			}
			b.reset()
			if got := b.next(); got > max(tt.base, leastBackoff)*3/2 {
				t.Fatalf("after success it is %v", got)
			}
		}
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
			t.Fatalf("%s: not new at first, or new again", id)
		}
		if len(s.ids) > seenEvents || len(s.ring) > seenEvents {
			t.Fatalf("remembers %d", len(s.ids))
		}
	}
	if s.add(strconv.Itoa(4 * seenEvents)) {
		t.Error("the oldest of the last ones was forgotten")
	}
	if !s.add("0") {
		t.Error("the first one was not")
	}
}
