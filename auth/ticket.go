package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// A ticket is a JWT that tells itself from a token in three ways, each enough:
// it has a key of its own, a typ in its header and an audience.
const (
	ticketType     = "ticket+jwt"
	ticketAudience = "imapi:events"
)

// ticketClaims are what a ticket says. It never carries the rights of
// administration: it is good for a stream alone. User and device are base64url,
// for as JSON some of their characters would take six, and a ticket has to fit
// a URL whatever they are.
type ticketClaims struct {
	jwt.RegisteredClaims
	Device string `json:"device,omitempty"`
	// TokenIssuedAt is the iat of the token that it was issued for, in
	// seconds since the Unix epoch; absent if that had none.
	TokenIssuedAt *int64 `json:"tiat,omitempty"`
}

func newTicketParser(now func() time.Time) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{HS256}),
		jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(),
		jwt.WithAudience(ticketAudience),
		jwt.WithTimeFunc(now),
	)
}

// IssueTicket makes a ticket with which an EventSource opens the principal's
// stream, on the principal's device, for the configured time but never longer
// than the principal's own. It may be used more than once: an EventSource
// reconnects to the same URL.
func (v *Verifier) IssueTicket(p Principal) (ticket string, expiresAt time.Time) {
	expiresAt = v.now().Add(v.ticketTTL)
	if p.ExpiresAt.Before(expiresAt) {
		expiresAt = p.ExpiresAt
	}
	expiresAt = expiresAt.Truncate(time.Second).UTC()

	claims := ticketClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   base64.RawURLEncoding.EncodeToString([]byte(p.User)),
			Audience:  jwt.ClaimStrings{ticketAudience},
			ExpiresAt: jwt.NewNumericDate(expiresAt),
		},
		Device: base64.RawURLEncoding.EncodeToString([]byte(p.Device)),
	}
	if !p.IssuedAt.IsZero() {
		seconds := p.IssuedAt.Unix()
		claims.TokenIssuedAt = &seconds
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["typ"] = ticketType
	ticket, err := token.SignedString(v.ticketKey)
	if err != nil {
		// Neither texts and numbers as JSON nor an HMAC can fail.
		panic(fmt.Sprintf("auth: a ticket could not be signed: %v", err))
	}
	return ticket, expiresAt
}

// VerifyTicket returns who the ticket stands for, without the rights of
// administration. Its errors are of type [Error].
func (v *Verifier) VerifyTicket(ticket string) (Principal, error) {
	if !compact(ticket) {
		return Principal{}, ErrTicketInvalid
	}
	var claims ticketClaims
	_, err := v.tickets.ParseWithClaims(ticket, &claims, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != ticketType {
			return nil, ErrTicketInvalid
		}
		return v.ticketKey, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidAudience):
		return Principal{}, ErrTicketExpired
	case err != nil:
		return Principal{}, ErrTicketInvalid
	}
	user, err := base64.RawURLEncoding.DecodeString(claims.Subject)
	if err != nil {
		return Principal{}, ErrTicketInvalid
	}
	device, err := base64.RawURLEncoding.DecodeString(claims.Device)
	if err != nil {
		return Principal{}, ErrTicketInvalid
	}
	p := Principal{
		Actor:     im.Actor{User: im.UserID(user), Device: string(device)},
		ExpiresAt: claims.ExpiresAt.UTC(),
	}
	if claims.TokenIssuedAt != nil {
		p.IssuedAt = time.Unix(*claims.TokenIssuedAt, 0).UTC()
	}
	now := v.now()
	p.ExpiresAt = v.endOf(p)
	switch {
	case v.maxAge > 0 && p.IssuedAt.IsZero(): // of before there was a maximum
		return Principal{}, ErrTicketInvalid
	case !now.Before(p.ExpiresAt):
		return Principal{}, ErrTicketExpired
	}
	if err := v.cuts.refuse(p, now); err != nil {
		return Principal{}, err
	}
	return p, nil
}
