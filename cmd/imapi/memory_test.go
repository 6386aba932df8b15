package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Garbage is returned once the server is calm, if there is enough of it.
func TestMemoryIsReturned(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		before, now heapUse
		want        bool
	}{
		"after a burst":            {heapUse{allocated: 90 * mb}, heapUse{allocated: 91 * mb, reachable: 40 * mb, objects: 60 * mb}, true},
		"what the collector keeps": {heapUse{allocated: 90 * mb}, heapUse{allocated: 91 * mb, reachable: 40 * mb, objects: 40 * mb, free: 16 * mb}, true},
		"in a burst":               {heapUse{allocated: 90 * mb}, heapUse{allocated: 91*mb + 1, reachable: 40 * mb, objects: 60 * mb}, false},
		"little garbage":           {heapUse{allocated: 90 * mb}, heapUse{allocated: 91 * mb, reachable: 40 * mb, objects: 48 * mb, free: 7 * mb}, false},
		"little for a large heap":  {heapUse{allocated: 90 * mb}, heapUse{allocated: 91 * mb, reachable: 400 * mb, objects: 499 * mb}, false},
		"enough for a large heap":  {heapUse{allocated: 90 * mb}, heapUse{allocated: 91 * mb, reachable: 400 * mb, objects: 500 * mb}, true},
		"while a collection ends":  {heapUse{allocated: 90 * mb}, heapUse{allocated: 91 * mb, reachable: 40 * mb, objects: 39 * mb}, false},
	} {
		returned := 0
		r := &reclaimer{free: func() { returned++ }}
		for i, u := range []heapUse{c.before, c.now} {
			r.read = func() heapUse { return u }
			r.look()
			if got, want := returned > 0, i == 1 && c.want; got != want {
				t.Errorf("%s, look %d: returned is %t", name, i+1, got)
			}
		}
	}
}

// It looks at regular times until it is stopped.
func TestMemoryIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var looks atomic.Int64
		r := &reclaimer{read: func() heapUse { looks.Add(1); return heapUse{} }, free: func() { t.Error("memory is returned") }}
		go r.run(ctx)
		time.Sleep(5*calmTime + calmTime/2)
		if n := looks.Load(); n != 5 {
			t.Errorf("%d looks", n)
		}
		stop()
		time.Sleep(5 * calmTime)
		if n := looks.Load(); n != 5 {
			t.Errorf("%d looks after the end", n)
		}
	})
}

// The runtime's metrics that newReclaimer reads are those that heapUse describes.
func TestMemoryOfTheProcess(t *testing.T) {
	m := newReclaimer()
	before := m.read()
	const size = 8 << 20
	kept := make([]byte, size)
	m.free()
	after := m.read()
	runtime.KeepAlive(kept)
	if n := after.allocated - before.allocated; n < size {
		t.Errorf("%d bytes are allocated, want %d at least", n, size)
	}
	if after.reachable < size || after.objects < size {
		t.Errorf("after a collection, with %d bytes in use: %+v", size, after)
	}
}
