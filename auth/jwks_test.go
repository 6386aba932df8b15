package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/imapi/imapi/auth"
)

// issuer serves a key set that a test can change.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	body    string
	status  int
	fetched atomic.Int64
}

func newIssuer(t *testing.T, keys ...map[string]any) *issuer {
	t.Helper()
	i := &issuer{status: http.StatusOK}
	i.publish(t, keys...)
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.fetched.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	w.WriteHeader(i.status)
	_, _ = io.WriteString(w, i.body)
}

// RoundTrip answers without a network, for tests in a synctest bubble.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	return w.Result(), nil
}

func (i *issuer) publish(t *testing.T, keys ...map[string]any) {
	t.Helper()
	if keys == nil {
		keys = []map[string]any{}
	}
	body, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	i.answer(http.StatusOK, string(body))
}

func (i *issuer) answer(status int, body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.body = status, body
}

// jwk encodes a key as an entry of a set. extra changes it; a nil value deletes a member.
func jwk(t *testing.T, key any, kid string, extra map[string]any) map[string]any {
	t.Helper()
	k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(k.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	entry := map[string]any{}
	if err := json.Unmarshal(body, &entry); err != nil {
		t.Fatal(err)
	}
	for name, value := range extra {
		if value == nil {
			delete(entry, name)
		} else {
			entry[name] = value
		}
	}
	return entry
}

func jwksConfig(c *clock, algorithm, url string) auth.Config {
	return auth.Config{
		Algorithm: algorithm, JWKSURL: url, TicketKey: ticketKey, Now: c.now, Log: slog.New(slog.DiscardHandler),
	}
}

func signES(t *testing.T, key *ecdsa.PrivateKey, kid any) string {
	t.Helper()
	return sign(t, jwt.SigningMethodES256, key, good(), map[string]any{"kid": kid})
}

func newECKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func TestKeySetAlgorithms(t *testing.T) {
	i := newIssuer(t,
		jwk(t, &rsaKey().PublicKey, "rsa", nil),
		jwk(t, &ecKey().PublicKey, "ec", nil),
		jwk(t, ed25519Key().Public(), "ed", nil),
	)
	tests := map[string]struct {
		method jwt.SigningMethod
		key    any
		kid    string
	}{
		auth.RS256: {jwt.SigningMethodRS256, rsaKey(), "rsa"},
		auth.ES256: {jwt.SigningMethodES256, ecKey(), "ec"},
		auth.EdDSA: {jwt.SigningMethodEdDSA, ed25519Key(), "ed"},
	}
	for algorithm, tt := range tests {
		t.Run(algorithm, func(t *testing.T) {
			v := newVerifier(t, jwksConfig(newClock(), algorithm, i.URL))
			if err := v.Ready(); err != nil {
				t.Error(err)
			}
			for _, kid := range []any{tt.kid, nil} { // a token without a kid
				p, err := v.Verify(sign(t, tt.method, tt.key, good(), map[string]any{"kid": kid}))
				if err != nil || p.User != "alice" {
					t.Errorf("kid %v: got %+v, %v", kid, p, err)
				}
			}
			for other, o := range tests {
				if other != algorithm {
					_, err := v.Verify(sign(t, o.method, o.key, good(), map[string]any{"kid": o.kid}))
					wantCode(t, err, auth.CodeTokenInvalid)
					_, err = v.Verify(sign(t, o.method, o.key, good(), map[string]any{"kid": tt.kid}))
					wantCode(t, err, auth.CodeTokenInvalid)
				}
			}
		})
	}
}

func TestKeySetIgnoresUnsuitableKeys(t *testing.T) {
	public := &ecKey().PublicKey
	unfit := map[string]map[string]any{
		"for encryption":   jwk(t, public, "k", map[string]any{"use": "enc"}),
		"for other alg":    jwk(t, public, "k", map[string]any{"alg": "ES384"}),
		"for signing only": jwk(t, public, "k", map[string]any{"key_ops": []string{"sign"}}),
		"of other type":    jwk(t, &rsaKey().PublicKey, "k", nil),
		"of other curve":   jwk(t, &ec384Key().PublicKey, "k", nil),
		"without x":        jwk(t, public, "k", map[string]any{"x": nil}),
		"of unknown type":  {"kty": "XX", "kid": "k"},
		"symmetric":        {"kty": "oct", "kid": "k", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
		"of unknown use":   jwk(t, public, "k", map[string]any{"use": "party"}),
	}
	spare := newECKey()
	for name, entry := range unfit {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, entry, jwk(t, &spare.PublicKey, "spare", map[string]any{"use": "sig", "key_ops": []string{"verify"}, "alg": "ES256"}))
			v := newVerifier(t, jwksConfig(newClock(), auth.ES256, i.URL))
			for _, kid := range []any{"k", nil} {
				_, err := v.Verify(signES(t, ecKey(), kid))
				wantCode(t, err, auth.CodeTokenInvalid)
			}
			_, err := v.Verify(signES(t, spare, "spare"))
			wantCode(t, err, "")
		})
	}
}

func TestKeySetRotation(t *testing.T) {
	c := newClock()
	before, after := newECKey(), newECKey()
	i := newIssuer(t, jwk(t, &before.PublicKey, "1", nil))
	v := newVerifier(t, jwksConfig(c, auth.ES256, i.URL))
	old, fresh := signES(t, before, "1"), signES(t, after, "2")
	_, err := v.Verify(old)
	wantCode(t, err, "")

	// An invented key id must not cause another fetch so soon.
	for n := range 100 {
		_, err = v.Verify(signES(t, after, fmt.Sprint("made up ", n)))
		wantCode(t, err, auth.CodeTokenInvalid)
	}
	if n := i.fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}

	i.publish(t, jwk(t, &after.PublicKey, "2", nil))
	c.advance(15 * time.Second)
	var group sync.WaitGroup
	for range 16 { // all find the key, but only one fetches the set
		group.Go(func() {
			_, err := v.Verify(fresh)
			wantCode(t, err, "")
		})
	}
	group.Wait()
	if n := i.fetched.Load(); n != 2 {
		t.Errorf("fetched %d times", n)
	}
	// Tokens of the withdrawn key are refused, even cached ones.
	_, err = v.Verify(old)
	wantCode(t, err, auth.CodeTokenInvalid)
	// A known id does not make an unknown key acceptable.
	_, err = v.Verify(signES(t, before, "2"))
	wantCode(t, err, auth.CodeTokenInvalid)
}

func TestKeySetUnreachable(t *testing.T) {
	c := newClock()
	i := newIssuer(t)
	key := newECKey()
	token := signES(t, key, "1")
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"status":      {http.StatusInternalServerError, `{"keys":[]}`},
		"not JSON":    {http.StatusOK, "<html>"},
		"not a set":   {http.StatusOK, "{}"},
		"far too big": {http.StatusOK, `{"keys":[],"x":"` + strings.Repeat("x", 1<<20) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			i.answer(answer.status, answer.body)
			v := newVerifier(t, jwksConfig(c, auth.ES256, i.URL))
			wantCode(t, v.Ready(), auth.CodeKeysUnavailable)
			_, err := v.Verify(token)
			wantCode(t, err, auth.CodeKeysUnavailable)

			i.publish(t, jwk(t, &key.PublicKey, "1", nil))
			c.advance(15 * time.Second)
			_, err = v.Verify(token)
			wantCode(t, err, "")
			wantCode(t, v.Ready(), "")

			// The current keys stay valid while the set is unreachable.
			i.answer(answer.status, answer.body)
			c.advance(15 * time.Second)
			_, err = v.Verify(signES(t, key, "2"))
			wantCode(t, err, auth.CodeKeysUnavailable)
			_, err = v.Verify(token)
			wantCode(t, err, "")
		})
	}
}

func TestKeySetRefusesUnsafeRedirects(t *testing.T) {
	i := newIssuer(t, jwk(t, &ecKey().PublicKey, "1", nil))
	for name, target := range map[string]string{
		"to another loopback address": i.URL,
		"to plain http elsewhere":     "http://192.0.2.1/jwks",
	} {
		t.Run(name, func(t *testing.T) {
			redirect := httptest.NewServer(http.RedirectHandler(target, http.StatusFound))
			defer redirect.Close()
			v := newVerifier(t, jwksConfig(newClock(), auth.ES256, redirect.URL))
			if got, want := v.Ready() == nil, target == i.URL; got != want {
				t.Errorf("ready %v, want %v", got, want)
			}
		})
	}
}

func TestKeySetIsFetchedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		i := &issuer{}
		i.answer(http.StatusBadGateway, "")
		now := time.Now()
		key := newECKey()
		token := sign(t, jwt.SigningMethodES256, key, with(jwt.MapClaims{"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix()}), map[string]any{"kid": "1"})
		v, err := auth.New(ctx, auth.Config{
			Algorithm: auth.ES256, JWKSURL: "https://keys.example/jwks", KeySetTransport: i,
			TicketKey: ticketKey, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		wait := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}

		// Without a key it tries often.
		i.publish(t, jwk(t, &key.PublicKey, "1", nil))
		wait(15 * time.Second)
		_, err = v.Verify(token)
		wantCode(t, err, "")
		if n := i.fetched.Load(); n != 2 {
			t.Errorf("fetched %d times", n)
		}

		// With a key it tries rarely, and drops a withdrawn key.
		i.publish(t)
		_, err = v.Verify(token)
		wantCode(t, err, "")
		wait(10 * time.Minute)
		if n := i.fetched.Load(); n != 3 {
			t.Errorf("fetched %d times", n)
		}
		_, err = v.Verify(token)
		wantCode(t, err, auth.CodeTokenInvalid)
		wantCode(t, v.Ready(), auth.CodeKeysUnavailable)
		cancel()
	})
}
