package client

import (
	"math/rand/v2"
	"time"
)

const (
	defaultMinBackoff = time.Second
	defaultMaxBackoff = 30 * time.Second
	// leastBackoff applies if the server sends "retry: 0". Without it the client would
	// reconnect in a busy loop.
	leastBackoff = 10 * time.Millisecond
)

// backoff computes the wait before the next connection. It starts with base, which is
// MinBackoff or a retry value of the server, and doubles after each failure, up to most.
type backoff struct {
	base, most time.Duration
	failures   int
}

// next returns the wait and counts a failure. It adds up to half of the wait at random,
// to spread the clients that a restart of the server disconnected.
func (b *backoff) next() time.Duration {
	wait := max(b.base, leastBackoff)
	for range b.failures {
		if wait >= b.most {
			break
		}
		wait = min(2*wait, b.most)
	}
	b.failures++
	return wait + rand.N(wait/2+1) //nolint:gosec // spreads clients, hides nothing
}

// reset sets the number of failures to zero.
func (b *backoff) reset() { b.failures = 0 }
