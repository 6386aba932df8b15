package auth

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Description is what a token says about itself. None of it is verified.
type Description struct {
	Algorithm string
	Subject   string
	// Expires and NotBefore are zero if the token does not have them, or not as times.
	Expires, NotBefore time.Time
}

// Describe reads a token without verifying it, for people who debug their own tokens. The error is
// an [*Error].
func Describe(token string) (Description, error) {
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, claims)
	if err != nil {
		return Description{}, ErrTokenMalformed
	}
	d := Description{Algorithm: fmt.Sprint(parsed.Header["alg"])}
	d.Subject, _ = claims.GetSubject() // "" if it is not a string
	if at, given, ok := readTime(claims, "exp"); given && ok {
		d.Expires = at
	}
	if at, given, ok := readTime(claims, "nbf"); given && ok {
		d.NotBefore = at
	}
	return d, nil
}
