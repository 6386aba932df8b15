package auth

import (
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// cuts are the users whose tokens were cut off, and when.
type cuts struct {
	mu     sync.RWMutex
	byUser map[im.UserID]time.Time
}

func newCuts(initial map[im.UserID]time.Time) *cuts {
	c := &cuts{byUser: make(map[im.UserID]time.Time, len(initial))}
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

// refuse reports whether a cut covers the principal: the user's tokens were
// cut off when it was issued or later, or it does not say when that was.
func (c *cuts) refuse(p Principal) bool {
	c.mu.RLock()
	at, ok := c.byUser[p.User]
	c.mu.RUnlock()
	return ok && (p.IssuedAt.IsZero() || !p.IssuedAt.After(at))
}
