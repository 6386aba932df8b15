package handlers

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/testsize"
)

// TestRateBucketsAreForgotten checks that only buckets that are not full are kept, and that
// a user who makes requests all the time stays limited.
func TestRateBucketsAreForgotten(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	take := func(b *buckets[string], key string) bool { _, ok := b.take(key, 1); return ok }
	length := func(b *buckets[string]) int { return len(b.fresh) + len(b.stale) }
	b := newBuckets[string](10, clock)
	taken := 0
	for i := range 10_000 {
		if take(b, fmt.Sprint("user", i)); length(b) > 1000 {
			t.Fatalf("%d buckets of callers within %v", length(b), 4*time.Second)
		}
		for take(b, "busy") {
			taken++
		}
		now = now.Add(10 * time.Millisecond)
	}
	if want := 10*100 + 20; taken > want || taken < want-20 {
		t.Errorf("a constant caller got %d requests in 100 s, want %d", taken, want)
	}
	if b = newBuckets[string](0.1, clock); !take(b, "x") || take(b, "x") {
		t.Error("a rate below one has no bucket of one")
	}
	for range 3 { // at 4 s each: less than it takes to fill
		now = now.Add(3 * time.Second)
		if take(b, "x") {
			t.Error("a slow bucket was forgotten before it was full")
		}
	}
	if now = now.Add(2 * time.Second); !take(b, "x") {
		t.Error("a slow bucket does not fill")
	}
	if b = newBuckets[string](1e6, clock); length(b) != 0 {
		t.Error("not empty")
	}
	for i := range testsize.Pick(1<<19, 1<<18+1000) {
		take(b, fmt.Sprint(i))
	}
	if n := length(b); n > 1<<18 {
		t.Errorf("%d buckets at one moment", n)
	}
}
