package client

import (
	"math/rand/v2"
	"time"
)

const (
	defaultMinBackoff = time.Second
	defaultMaxBackoff = 30 * time.Second
	// leastBackoff keeps a server that says "retry: 0" from being hammered.
	leastBackoff = 10 * time.Millisecond
)

// backoff tells how long to wait before the next connection: at first as long
// as the server says, and twice as long after each that got nowhere.
type backoff struct {
	base, most time.Duration
	failures   int
}

// next returns the wait and counts a failure. Up to half of it is added at
// random, so that those whom a restart has thrown out do not come back at once.
func (b *backoff) next() time.Duration {
	wait := max(b.base, leastBackoff)
	for range b.failures {
		if wait >= b.most {
			break
		}
		wait = min(2*wait, b.most)
	}
	b.failures++
	return wait + rand.N(wait/2+1)
}

// reset forgets the failures.
func (b *backoff) reset() { b.failures = 0 }
