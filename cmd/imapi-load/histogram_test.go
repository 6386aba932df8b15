package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Every duration is in a bucket that contains it and is narrow.
func TestBucketsAreNarrow(t *testing.T) {
	before := -1
	for d := time.Duration(0); d >= 0 && d < math.MaxInt64/2; d = d*65/64 + 1000 {
		i := bucketOf(d)
		if i < before || i >= buckets {
			t.Fatalf("%v is in bucket %d, a shorter one in %d", d, i, before)
		}
		before = i
		end := endOf(i)
		if end < d || i > 0 && endOf(i-1) >= d {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, i, end)
		}
		if width := end - d; d > time.Millisecond && float64(width) > float64(d)/subBuckets {
			t.Fatalf("the bucket of %v is %v too wide", d, width)
		}
	}
	if i := bucketOf(math.MaxInt64); i >= buckets {
		t.Errorf("the longest duration is in bucket %d of %d", i, buckets)
	}
	if i := bucketOf(-time.Second); i != 0 {
		t.Errorf("a negative duration is in bucket %d", i)
	}
}

func TestQuantiles(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 || h.mean() != 0 || h.latency() != nil {
		t.Error("an empty histogram has a quantile")
	}
	random := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(5*time.Millisecond))
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(q*float64(len(all)))-1, 0)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*1.04+2000 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.quantile(1) != all[len(all)-1] {
		t.Errorf("the longest is %v, want %v", h.quantile(1), all[len(all)-1])
	}
	var n int64
	for _, b := range h.latency().Buckets {
		n += b.Count
	}
	if n != int64(len(all)) {
		t.Errorf("%d in all buckets, want %d", n, len(all))
	}
}
