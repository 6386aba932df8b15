package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// A ticket is a JWT that differs from a token in its key, in the typ in its header and in its
// audience. Each of these suffices to tell them apart.
const (
	ticketType     = "ticket+jwt"
	ticketAudience = "imapi:events"
)

// ticketClaims are the claims of a ticket. It opens a stream and nothing else, so it
// never makes a user an admin. User and device are base64url: JSON would turn some
// characters into six, and a ticket must always fit into a URL.
type ticketClaims struct {
	jwt.RegisteredClaims
	Device string `json:"device,omitempty"`
	// TokenIssuedAt is the iat of the token that requested the ticket, in seconds
	// since the Unix epoch; absent if the token had none.
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

// IssueTicket returns a ticket with which an EventSource opens a stream of the principal
// on the principal's device, and the time at which it expires: after Config.TicketTTL,
// but no later than the principal's token. A ticket can be used many times, because an
// EventSource reconnects to the same URL.
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
		// Encoding strings and numbers as JSON cannot fail, nor can an HMAC.
		panic(fmt.Sprintf("auth: sign a ticket: %v", err))
	}
	return ticket, expiresAt
}

// VerifyTicket returns the principal of a ticket, which is never an admin. Its errors
// are of type [*Error].
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
	case v.maxAge > 0 && p.IssuedAt.IsZero(): // issued before MaxAge was set
		return Principal{}, ErrTicketInvalid
	case !now.Before(p.ExpiresAt):
		return Principal{}, ErrTicketExpired
	}
	if err := v.cuts.refuse(p, now); err != nil {
		return Principal{}, err
	}
	return p, nil
}
