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

	mu     sync.RWMutex
	byUser map[im.UserID]time.Time
}

func newCuts(initial map[im.UserID]time.Time, leeway time.Duration) *cuts {
	c := &cuts{leeway: leeway, byUser: make(map[im.UserID]time.Time, len(initial))}
	for user, at := range initial {
		c.byUser[user] = at
	}
	return c
}

// add remembers a cut; one that is earlier than what is known changes nothing.
func (c *cuts) add(cut im.TokenCut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.byUser[cut.User]; !ok || at.Before(cut.At) {
		c.byUser[cut.User] = cut.At
	}
}

// refuse reports whether a cut covers the principal: the user's tokens were cut
// off, and it may have been there by then. It says so itself; or does not say when
// it was issued; or it says a time up to the leeway after the cut, which a clock
// that is ahead by that much writes before it; or a time that has not come.
func (c *cuts) refuse(p Principal, now time.Time) bool {
	c.mu.RLock()
	at, ok := c.byUser[p.User]
	c.mu.RUnlock()
	return ok && (p.IssuedAt.IsZero() || !p.IssuedAt.After(at.Add(c.leeway)) || p.IssuedAt.After(now))
}
