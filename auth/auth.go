// Package auth turns tokens into actors. It verifies JSON Web Tokens with the
// one algorithm that is configured, issues and verifies the tickets with which
// an EventSource opens a stream, knows whose tokens were cut off, keeps the
// secret of a server that makes its own tokens, and mints them.
//
// Nothing in it logs or quotes a token, a ticket or a claim.
package auth

import (
	"time"

	"github.com/imapi/imapi/im"
)

// Principal is an actor and the limits of the token or ticket that names it.
type Principal struct {
	im.Actor
	// IssuedAt is when the token was issued, by whole seconds; zero if it
	// does not say. Of a ticket it is that of the token it was issued for, so
	// that a cut-off ends both.
	IssuedAt time.Time
	// ExpiresAt is when the token or ticket ceases to be accepted, the leeway
	// included: a stream opened with it ends then.
	ExpiresAt time.Time
}
