package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// calmTime is how long the server must have been calm: it has allocated at most calmBytes.
	calmTime  = 500 * time.Millisecond
	calmBytes = 1 << 20
	// Garbage is returned to the system only if there are at least worthBytes of it, and at least
	// 1/worthPart of what is reachable, all of which a collection has to visit.
	worthBytes = 16 << 20
	worthPart  = 4
)

// heapUse is what the Go heap takes, in bytes.
type heapUse struct {
	allocated uint64 // since the start
	reachable uint64 // found by the last garbage collection
	objects   uint64 // reachable, and garbage that is not collected
	free      uint64 // kept for later
}

// reclaimer returns garbage to the system after each burst. The collector by itself waits for as
// much again to be allocated, which takes hours on a calm server: the buffers and requests of
// 5,000 clients that have connected at once, and have been idle since, would stay.
type reclaimer struct {
	read func() heapUse
	free func()
	last uint64 // allocated at the last look
}

// run looks regularly until ctx ends.
func (r *reclaimer) run(ctx context.Context) {
	tick := time.NewTicker(calmTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.look()
		}
	}
}

// look returns garbage if the server has been calm since the previous look and there is enough
// garbage.
func (r *reclaimer) look() {
	u := r.read()
	calm := u.allocated-r.last <= calmBytes
	r.last = u.allocated
	garbage := u.free
	if u.objects > u.reachable { // it may be less while a collection ends
		garbage += u.objects - u.reachable
	}
	if calm && garbage >= max(worthBytes, u.reachable/worthPart) {
		r.free()
	}
}

// newReclaimer returns a reclaimer of the process.
func newReclaimer() *reclaimer {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	return &reclaimer{free: debug.FreeOSMemory, read: func() heapUse {
		metrics.Read(samples)
		value := func(i int) uint64 { return samples[i].Value.Uint64() }
		return heapUse{allocated: value(0), reachable: value(1), objects: value(2), free: value(3)}
	}}
}
