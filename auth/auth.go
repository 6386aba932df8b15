// Package auth turns tokens into actors.
//
// A [Verifier] accepts JSON Web Tokens signed with the one configured algorithm,
// issues and verifies the tickets with which a browser's EventSource opens a stream,
// and refuses tokens issued before a cut-off. [Mint] signs tokens for a server that
// keeps its own secret.
//
// The package never logs or quotes a token, a ticket or a claim.
//
//   - config.go, verifier.go, claims.go, errors.go: verifying a token
//   - keys.go, jwks.go: where the keys come from, a file or a JSON Web Key Set
//   - cache.go: tokens that were verified before
//   - cuts.go: users whose tokens were cut off
//   - ticket.go, mint.go, secret.go: issuing tickets and tokens
package auth

import (
	"time"

	"github.com/imapi/imapi/im"
)

// Principal is an actor, with the times of the token or ticket that names it.
type Principal struct {
	im.Actor
	// IssuedAt is when the token was issued, in whole seconds; zero if it has no
	// iat. For a ticket it is the time of the token that requested the ticket, so a
	// cut-off ends both.
	IssuedAt time.Time
	// ExpiresAt is when the token or ticket stops being accepted, leeway included. A
	// stream opened with it ends then.
	ExpiresAt time.Time
}
