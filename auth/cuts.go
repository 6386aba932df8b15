package auth

import (
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// cuts are the users whose tokens were cut off, and when.
type cuts struct {
	// leeway is how far the clock of who makes tokens may be ahead.
	leeway time.Duration

	mu sync.RWMutex
	// byUser has times in milliseconds since the Unix epoch: there may be a million.
	byUser map[im.UserID]int64
	// forgotten is when the newest cut was made of those that are not known any more;
	// zero if all are.
	forgotten time.Time
}

func newCuts(leeway time.Duration) *cuts {
	return &cuts{leeway: leeway, byUser: map[im.UserID]int64{}}
}

// add remembers a cut; one that is earlier than what is known changes nothing.
func (c *cuts) add(cut im.TokenCut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.byUser[cut.User]; !ok || at < cut.At.UnixMilli() {
		c.byUser[cut.User] = cut.At.UnixMilli()
	}
}

// forget forgets all cuts up to a time.
func (c *cuts) forget(through time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !through.After(c.forgotten) {
		return
	}
	c.forgotten = through
	for user, at := range c.byUser {
		if at <= through.UnixMilli() {
			delete(c.byUser, user)
		}
	}
}

// refuse reports why a principal is refused, nil if it is not: the user's tokens were
// cut off, and it may have been there by then. It says so itself; or does not say when
// it was issued; or it says a time up to the leeway after the cut, which a clock that
// is ahead by that much writes before it; or a time that has not come. Whose the cuts
// were that are forgotten is not known, so what they could have met is refused for all.
func (c *cuts) refuse(p Principal, now time.Time) error {
	c.mu.RLock()
	at, cut := c.byUser[p.User]
	forgotten := c.forgotten
	c.mu.RUnlock()
	switch {
	case !forgotten.IsZero() && c.meets(forgotten, p):
		return ErrTokenExpired
	case cut && (c.meets(time.UnixMilli(at), p) || p.IssuedAt.After(now)):
		return ErrTokenCutOff
	}
	return nil
}

// meets reports whether a token may have been there at the time of a cut.
func (c *cuts) meets(at time.Time, p Principal) bool {
	return p.IssuedAt.IsZero() || !p.IssuedAt.After(at.Add(c.leeway))
}
