package auth

import (
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// cuts holds the users whose tokens were cut off, and when.
type cuts struct {
	// leeway is how far the clock of the token issuer may be ahead.
	leeway time.Duration

	mu sync.RWMutex
	// byUser holds milliseconds since the Unix epoch, to be small for a million users.
	byUser map[im.UserID]int64
	// forgotten is the time of the newest cut-off that was dropped; zero if none was.
	forgotten time.Time
}

func newCuts(leeway time.Duration) *cuts {
	return &cuts{leeway: leeway, byUser: map[im.UserID]int64{}}
}

// add adds a cut-off. It has no effect if the user has a later one.
func (c *cuts) add(cut im.TokenCut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.byUser[cut.User]; !ok || at < cut.At.UnixMilli() {
		c.byUser[cut.User] = cut.At.UnixMilli()
	}
}

// forget drops all cut-offs up to a time.
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

// refuse returns an error if a cut-off applies to the principal, that is, if its token
// may have been issued before the cut-off. That includes a token without iat; one
// issued up to the leeway after the cut-off, since the issuer's clock may be ahead; and
// one issued in the future. It is not known which users the dropped cut-offs belonged
// to, so a token that one of them could apply to is refused for every user.
func (c *cuts) refuse(p Principal, now time.Time) error {
	c.mu.RLock()
	at, cut := c.byUser[p.User]
	forgotten := c.forgotten
	c.mu.RUnlock()
	switch {
	case !forgotten.IsZero() && c.applies(forgotten, p):
		return ErrTokenExpired
	case cut && (c.applies(time.UnixMilli(at), p) || p.IssuedAt.After(now)):
		return ErrTokenCutOff
	}
	return nil
}

// applies reports whether a token may have been issued by the time of a cut-off.
func (c *cuts) applies(at time.Time, p Principal) bool {
	return p.IssuedAt.IsZero() || !p.IssuedAt.After(at.Add(c.leeway))
}
