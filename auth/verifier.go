package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/im"
)

// maxToken is the longest token that is looked at, in bytes. Those of the
// larger identity providers, with groups and all, take up to about 4 KiB.
const maxToken = 16 << 10

// Verifier tells who a token or ticket stands for. It is safe for concurrent
// use. Make one with [New].
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

// keySource finds the keys that may have signed a token.
type keySource interface {
	// keys returns a key, or a jwt.VerificationKeySet, that fits the
	// configured algorithm; kid is "" for a token that names none.
	keys(kid string) (any, error)
	// ready reports an error while there is no key at all.
	ready() error
}

// Verify returns who the token stands for. Its errors are of type [Error].
func (v *Verifier) Verify(token string) (Principal, error) {
	if token == "" {
		return Principal{}, ErrTokenMissing
	}
	if !compact(token) {
		return Principal{}, ErrTokenMalformed
	}
	key := cacheKey(token)
	found, generation, ok := v.cache.get(key)
	if !ok {
		var err error
		if found, err = v.verify(token); err != nil {
			return Principal{}, err
		}
		v.cache.put(key, found, generation)
	}
	// A token from the cache may have run out since, and a clock that was set
	// back makes one invalid again.
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

// Cut refuses the user's tokens and tickets issued at or before the time, or up to
// the leeway after it, from now on, cached or not, and those that do not say when
// they were issued. The time of issue counts by whole seconds, so a token issued
// later within the second of the cut is refused as well.
func (v *Verifier) Cut(cut im.TokenCut) { v.cuts.add(cut) }

// ForgetCuts forgets the cut-offs made up to a time. Every token has ended by then that
// they could meet: what says that it was issued before is refused as expired, whosever
// it is, also if MaxAge is greater now than when they were forgotten. Zero forgets none.
func (v *Verifier) ForgetCuts(through time.Time) { v.cuts.forget(through) }

// Ready reports an error while no token can be verified because the key set
// has not been fetched yet.
func (v *Verifier) Ready() error { return v.keys.ready() }

// verify looks at the token itself, without cache and cut-offs.
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

// endOf returns when a token or ticket ends: by itself, or once it is too old.
func (v *Verifier) endOf(p Principal) time.Time {
	if oldest := p.IssuedAt.Add(v.maxAge + v.leeway); v.maxAge > 0 && oldest.Before(p.ExpiresAt) {
		return oldest
	}
	return p.ExpiresAt
}

// checkHeader refuses what no key could make good, and returns the kid.
func checkHeader(header map[string]any) (kid string, err error) {
	if _, ok := header["crit"]; ok {
		// RFC 7515 §4.1.11: extensions that are not understood. None is.
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

// refusal finds the [Error] for what the parser answered. A fault that cannot
// mend is told before one that time brought.
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

// errClaims is for claims of which the parser does not tell which one it is.
var errClaims = &Error{CodeTokenInvalid, "a claim that is demanded (exp, iss, aud) is missing or of the wrong type"}

// compact reports whether s may be a JWT in compact form: of bearable length
// and made of the characters of base64url and dots. The decoder would skip
// line breaks, and one token shall have one text.
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
