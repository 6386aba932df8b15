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
