package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// maxToken is the maximum length of a token, in bytes. Tokens of the large identity
// providers, groups included, have up to about 4 KiB.
const maxToken = 16 << 10

// Verifier verifies tokens and tickets. It is safe for concurrent use. Create one with
// [New].
type Verifier struct {
	parser *jwt.Parser
	keys   keySource
	now    func() time.Time
	leeway time.Duration
	maxAge time.Duration
	cuts   *cuts
	cache  *cache

	tickets   *jwt.Parser
	ticketKey []byte
	ticketTTL time.Duration
}

// keySource returns the keys that may have signed a token.
type keySource interface {
	// keys returns a key, or a jwt.VerificationKeySet, that fits the configured
	// algorithm. kid is "" for a token without one.
	keys(kid string) (any, error)
	// ready returns an error while there is no key.
	ready() error
}

// Verify returns the principal of a token. Its errors are of type [*Error].
func (v *Verifier) Verify(token string) (Principal, error) {
	if token == "" {
		return Principal{}, ErrTokenMissing
	}
	if !compact(token) {
		return Principal{}, ErrTokenMalformed
	}
	key := cacheKey(token)
	found, cleared, ok := v.cache.get(key)
	if !ok {
		var err error
		if found, err = v.verify(token); err != nil {
			return Principal{}, err
		}
		v.cache.put(key, found, cleared)
	}
	// A cached token may have expired in the meantime, and a clock that is set back can make a
	// token not valid yet.
	now := v.now()
	switch {
	case !now.Before(found.ExpiresAt):
		return Principal{}, ErrTokenExpired
	case now.Before(found.notBefore):
		return Principal{}, ErrTokenNotYetValid
	case found.IssuedAt.After(now.Add(v.leeway)):
		return Principal{}, ErrTokenFromFuture
	}
	if err := v.cuts.refuse(found.Principal, now); err != nil {
		return Principal{}, err
	}
	return found.Principal, nil
}

// Recheck returns an error if a cut-off applies by now to a principal that was verified before. A
// long-lived request calls it after it has registered to be ended by later cut-offs, so that no
// cut-off in between is missed.
func (v *Verifier) Recheck(p Principal) error { return v.cuts.refuse(p, v.now()) }

// Cut makes Verify and VerifyTicket refuse all tokens and tickets of a user that were
// issued at or before the cut-off, or up to the leeway after it, and those whose iat is
// missing or in the future. An iat is taken as whole seconds, so a token issued after the
// cut-off but within the same second is refused too.
func (v *Verifier) Cut(cut im.TokenCut) { v.cuts.add(cut) }

// ForgetCuts drops the cut-offs made up to a time. Tokens that they apply to must have
// expired by then. From now on a token of any user is refused as expired if it has no iat,
// or may have been issued by that time, even if MaxAge has been raised since. A zero time
// drops none.
func (v *Verifier) ForgetCuts(through time.Time) { v.cuts.forget(through) }

// Ready returns an error while no token can be verified, because no key set was fetched
// yet or the last key set has no key for the algorithm.
func (v *Verifier) Ready() error { return v.keys.ready() }

// verify verifies a token without the cache and the cut-offs.
func (v *Verifier) verify(token string) (verified, error) {
	claims := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		kid, err := checkHeader(t.Header)
		if err != nil {
			return nil, err
		}
		return v.keys.keys(kid)
	})
	if err != nil {
		return verified{}, refusal(err)
	}
	found, err := readClaims(claims, v.leeway)
	if err == nil && v.maxAge > 0 {
		if found.IssuedAt.IsZero() {
			return verified{}, refuseClaim("iat")
		}
		found.ExpiresAt = v.endOf(found.Principal)
	}
	return found, err
}

// endOf returns when a token or ticket expires, by its exp or by MaxAge.
func (v *Verifier) endOf(p Principal) time.Time {
	if oldest := p.IssuedAt.Add(v.maxAge + v.leeway); v.maxAge > 0 && oldest.Before(p.ExpiresAt) {
		return oldest
	}
	return p.ExpiresAt
}

// checkHeader returns the kid of a header. It refuses headers that no key can make
// valid.
func checkHeader(header map[string]any) (kid string, err error) {
	if _, ok := header["crit"]; ok {
		// RFC 7515 §4.1.11: crit lists extensions that a recipient must understand. This one
		// understands none.
		return "", ErrTokenInvalid
	}
	if header["typ"] == ticketType {
		return "", ErrTokenInvalid
	}
	switch value := header["kid"].(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	default:
		return "", ErrTokenInvalid
	}
}

// refusal converts an error of the parser to an [Error]. A permanent error takes
// precedence over one about time.
func refusal(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return ErrTokenMalformed
	case !errors.Is(err, jwt.ErrTokenInvalidClaims):
		return ErrTokenInvalid
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return refuseClaim("iss")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return refuseClaim("aud")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing), errors.Is(err, jwt.ErrInvalidType):
		return errClaims
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrTokenExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ErrTokenNotYetValid
	default:
		return ErrTokenInvalid
	}
}

// errClaims is about a claim that the parser does not name.
var errClaims = &Error{CodeTokenInvalid, "a required claim (exp, iss, aud) is missing or of the wrong type"}

// compact reports whether s may be a JWT in compact form: at most maxToken bytes, and
// only the characters of base64url and dots. The decoder would skip line breaks, so one token would
// have many spellings and many cache entries.
func compact(s string) bool {
	if len(s) > maxToken {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
