package auth

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// scopeAdmin is the scope that makes a user a server admin.
const scopeAdmin = "admin"

// latest is the last second that RFC 3339 can express.
const latest = 253402300799

// verified is the content of a valid token.
type verified struct {
	Principal
	// notBefore is when the token starts being accepted, leeway included; zero without nbf.
	notBefore time.Time
}

// readClaims reads the claims of a token whose signature, exp, nbf, iss and aud were
// verified. The names of claims are case-sensitive: an issuer that copies a user's own
// data into a token may filter "scope" and not "Scope".
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

// readScopes reads scopes from a space-separated string or an array. Only the ASCII
// space separates them (RFC 6749 §3.3). If other white space did too, a scope that an
// issuer takes for one word could contain the word admin.
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

// readTime reads a claim in seconds since the Unix epoch and drops fractions. given is
// false if the claim is missing or null; ok is false if it is anything else that is not a number,
// or before 1970 or too late for RFC 3339.
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
