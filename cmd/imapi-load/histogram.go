package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Durations are counted in units of 1,024 ns.
	unitBits = 10
	// The first 64 buckets are one unit wide. Above them, each power of two has 64 buckets, so a
	// bucket is at most 1.6 % wide.
	subBits    = 6
	subBuckets = 1 << subBits
	buckets    = (64 - unitBits - subBits + 1) * subBuckets
)

// histogram counts durations in buckets whose width grows with the duration. It needs no
// range in advance and 25 KB of memory. It is safe for concurrent use.
type histogram struct {
	counts     [buckets]atomic.Int64
	total, sum atomic.Int64
	most       atomic.Int64
}

// bucketOf returns the bucket of a duration.
func bucketOf(d time.Duration) int {
	units := uint64(max(d, 0)) >> unitBits
	if units < subBuckets {
		return int(units)
	}
	shift := bits.Len64(units) - subBits - 1
	return (shift+1)*subBuckets + int(units>>shift) - subBuckets
}

// endOf returns the longest duration of a bucket.
func endOf(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket+1)<<unitBits - 1
	}
	shift := bucket/subBuckets - 1
	units := int64(bucket%subBuckets + subBuckets + 1)
	return time.Duration(units<<(shift+unitBits) - 1)
}

// add counts a duration.
func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)].Add(1)
	h.total.Add(1)
	h.sum.Add(int64(d))
	for most := h.most.Load(); int64(d) > most && !h.most.CompareAndSwap(most, int64(d)); {
		most = h.most.Load()
	}
}

// quantile returns the q-quantile of the durations, at most 1.6 % or one unit too long; 0 if there
// are none.
func (h *histogram) quantile(q float64) time.Duration {
	total := h.total.Load()
	if total == 0 {
		return 0
	}
	wanted := max(int64(q*float64(total)+0.5), 1)
	most := time.Duration(h.most.Load())
	var seen int64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= wanted {
			return min(endOf(i), most)
		}
	}
	return most
}

// mean returns the average duration, 0 if there are none.
func (h *histogram) mean() time.Duration {
	if total := h.total.Load(); total > 0 {
		return time.Duration(h.sum.Load() / total)
	}
	return 0
}

// latency is a histogram in a result, in milliseconds.
type latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	// Buckets lists the buckets that are not empty, each with its longest duration and its count.
	Buckets []bucket `json:"buckets"`
}

type bucket struct {
	UpTo  float64 `json:"up_to"`
	Count int64   `json:"count"`
}

// latency returns what goes into a result, nil if nothing was counted.
func (h *histogram) latency() *latency {
	if h.total.Load() == 0 {
		return nil
	}
	l := &latency{
		Mean: milliseconds(h.mean()), P50: milliseconds(h.quantile(0.5)), P90: milliseconds(h.quantile(0.9)),
		P99: milliseconds(h.quantile(0.99)), P999: milliseconds(h.quantile(0.999)), Max: milliseconds(time.Duration(h.most.Load())),
	}
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			l.Buckets = append(l.Buckets, bucket{milliseconds(endOf(i)), n})
		}
	}
	return l
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1000
}
