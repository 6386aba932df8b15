package auth

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// scopeAdmin is the scope that gives the rights of administration.
const scopeAdmin = "admin"

// latest is the last second that RFC 3339 can write.
const latest = 253402300799

// verified is what a good token says.
type verified struct {
	Principal
	// notBefore is from when on the token is accepted, leeway included; zero
	// if it does not say.
	notBefore time.Time
}

// readClaims takes what matters from claims whose signature, exp, nbf, iss and
// aud were found good. Names of claims are compared as they are: an issuer
// that copies users' own data into a token may be careful about "scope" and
// not about "Scope".
func readClaims(claims jwt.MapClaims, leeway time.Duration) (verified, error) {
	var v verified

	subject, _ := claims["sub"].(string)
	v.User = im.UserID(subject)
	switch {
	case subject == "":
		return v, refuseClaim("sub")
	case !v.User.Valid():
		return v, ErrInvalidSubject
	}
	if device, ok := claims["device"]; ok && device != nil {
		v.Device, _ = device.(string)
		if !im.ValidDevice(v.Device) {
			return v, refuseClaim("device")
		}
	}
	scopes, ok := readScopes(claims["scope"])
	if !ok {
		return v, refuseClaim("scope")
	}
	v.Admin = slices.Contains(scopes, scopeAdmin)

	expires, given, ok := readTime(claims, "exp")
	if !given || !ok {
		return v, refuseClaim("exp")
	}
	v.ExpiresAt = expires.Add(leeway)
	if v.IssuedAt, _, ok = readTime(claims, "iat"); !ok {
		return v, refuseClaim("iat")
	}
	notBefore, given, ok := readTime(claims, "nbf")
	switch {
	case !ok:
		return v, refuseClaim("nbf")
	case given:
		v.notBefore = notBefore.Add(-leeway)
	}
	return v, nil
}

// readScopes reads a text with scopes between spaces, or an array of them. Only the
// ASCII space parts them (RFC 6749 §3.3): any other white space is part of a word,
// so that nothing but the word admin itself makes an admin.
func readScopes(claim any) ([]string, bool) {
	switch claim := claim.(type) {
	case nil:
		return nil, true
	case string:
		return strings.Split(claim, " "), true
	case []any:
		scopes := make([]string, 0, len(claim))
		for _, item := range claim {
			scope, ok := item.(string)
			if !ok {
				return nil, false
			}
			scopes = append(scopes, scope)
		}
		return scopes, true
	default:
		return nil, false
	}
}

// readTime reads a time in seconds since the Unix epoch, without fractions. It
// is zero and not given if there is none, and not ok if it is anything but a
// number that RFC 3339 could write.
func readTime(claims jwt.MapClaims, name string) (at time.Time, given, ok bool) {
	claim, given := claims[name]
	if !given || claim == nil {
		return time.Time{}, false, true
	}
	seconds, ok := claim.(float64)
	if !ok || !(seconds >= 0 && seconds <= latest) {
		return time.Time{}, true, false
	}
	return time.Unix(int64(math.Floor(seconds)), 0).UTC(), true, true
}
