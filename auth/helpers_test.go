package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/auth"
)

var (
	secret    = []byte("a secret of thirty-two bytes, or more")
	ticketKey = []byte("a ticket key of at least thirty-two bytes")
	// start is the time at which the clocks of the tests start.
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// clock is a clock that a test controls.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	c.set(start)
	return c
}

func (c *clock) set(at time.Time)        { c.at.Store(&at) }
func (c *clock) now() time.Time          { return *c.at.Load() }
func (c *clock) advance(d time.Duration) { c.set(c.now().Add(d)) }

// hs256 returns a valid configuration for HS256.
func hs256(c *clock) auth.Config {
	return auth.Config{Secret: secret, TicketKey: ticketKey, Now: c.now}
}

func newVerifier(t testing.TB, cfg auth.Config) *auth.Verifier {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	v, err := auth.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// good returns claims that every verifier of the tests accepts.
func good() jwt.MapClaims {
	return jwt.MapClaims{"sub": "alice", "iat": start.Unix(), "exp": start.Add(time.Hour).Unix()}
}

// with returns the good claims with changes; a nil value deletes a claim.
func with(changes jwt.MapClaims) jwt.MapClaims {
	claims := good()
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// sign returns a token. header changes its header; a nil value deletes a parameter.
func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	maps.DeleteFunc(token.Header, func(_ string, v any) bool { return v == nil })
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signHS signs with the secret of the tests.
func signHS(t testing.TB, claims jwt.Claims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, secret, claims, nil)
}

// wantCode checks the code of an error; "" wants no error.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var refusal *auth.Error
	switch {
	case code == "" && err != nil:
		t.Errorf("refused: %v", err)
	case code != "" && !errors.As(err, &refusal):
		t.Errorf("got %v, want %s", err, code)
	case code != "" && refusal.Code != code:
		t.Errorf("got %v, want %s", err, code)
	}
}

// Generating keys is slow, so all tests share one set.
var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey      = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ec384Key   = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	ed25519Key = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	})
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// publicPEM writes a public key as PEM.
func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
