package auth_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

func TestVerifyReturnsActorOfClaims(t *testing.T) {
	v := newVerifier(t, hs256(newClock()))
	tests := map[string]struct {
		claims jwt.MapClaims
		want   im.Actor
	}{
		"user":                  {good(), im.Actor{User: "alice"}},
		"device":                {with(jwt.MapClaims{"device": "phone"}), im.Actor{User: "alice", Device: "phone"}},
		"scope as text":         {with(jwt.MapClaims{"scope": "read admin"}), im.Actor{User: "alice", Admin: true}},
		"scope as array":        {with(jwt.MapClaims{"scope": []string{"read", "admin"}}), im.Actor{User: "alice", Admin: true}},
		"scope within a word":   {with(jwt.MapClaims{"scope": "administrator not-admin admin:read"}), im.Actor{User: "alice"}},
		"scope array of phrase": {with(jwt.MapClaims{"scope": []string{"read admin"}}), im.Actor{User: "alice"}},
		"scope between spaces":  {with(jwt.MapClaims{"scope": "  read  admin "}), im.Actor{User: "alice", Admin: true}},
		"scope after a tab":     {with(jwt.MapClaims{"scope": "read\tadmin"}), im.Actor{User: "alice"}},
		"scope after a newline": {with(jwt.MapClaims{"scope": "read\nadmin"}), im.Actor{User: "alice"}},
		"scope after U+00A0":    {with(jwt.MapClaims{"scope": "read\u00a0admin"}), im.Actor{User: "alice"}},
		"scope after U+0085":    {with(jwt.MapClaims{"scope": "read\u0085admin"}), im.Actor{User: "alice"}},
		"scope in other case":   {with(jwt.MapClaims{"scope": "Admin", "Scope": "admin"}), im.Actor{User: "alice"}},
		"sub in other case":     {with(jwt.MapClaims{"Sub": "bob", "SUB": "carol"}), im.Actor{User: "alice"}},
		"user beyond ASCII":     {with(jwt.MapClaims{"sub": "Zoë 李雷"}), im.Actor{User: "Zoë 李雷"}},
		"longest user":          {with(jwt.MapClaims{"sub": strings.Repeat("u", 128)}), im.Actor{User: im.UserID(strings.Repeat("u", 128))}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := v.Verify(signHS(t, tt.claims))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, p.Actor); diff != "" {
				t.Errorf("the actor (-want +got):\n%s", diff)
			}
			if !p.IssuedAt.Equal(start) || !p.ExpiresAt.Equal(start.Add(time.Hour)) {
				t.Errorf("issued %v, expires %v", p.IssuedAt, p.ExpiresAt)
			}
		})
	}
	t.Run("null claims count as missing", func(t *testing.T) {
		claims := good()
		claims["device"], claims["scope"], claims["iat"] = nil, nil, nil
		p, err := v.Verify(signHS(t, claims))
		if err != nil || p.Device != "" || p.Admin || !p.IssuedAt.IsZero() {
			t.Errorf("got %+v, %v", p, err)
		}
	})
}

func TestVerifyRefuses(t *testing.T) {
	cfg := hs256(newClock())
	cfg.Issuer, cfg.Audience = "https://issuer.example", "imapi"
	v := newVerifier(t, cfg)
	base := jwt.MapClaims{"iss": cfg.Issuer, "aud": cfg.Audience}
	claims := func(changes jwt.MapClaims) jwt.MapClaims {
		c := with(base)
		for name, value := range changes {
			if value == nil {
				delete(c, name)
			} else {
				c[name] = value
			}
		}
		return c
	}
	whole := signHS(t, claims(nil))
	parts := strings.Split(whole, ".")
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

	tests := map[string]struct{ token, code string }{
		"good":                 {whole, ""},
		"one audience of many": {signHS(t, claims(jwt.MapClaims{"aud": []string{"other", "imapi"}})), ""},
		"unknown typ":          {sign(t, jwt.SigningMethodHS256, secret, claims(nil), map[string]any{"typ": "at+jwt"}), ""},
		"no typ, a kid":        {sign(t, jwt.SigningMethodHS256, secret, claims(nil), map[string]any{"typ": nil, "kid": "k1"}), ""},

		"nothing":              {"", auth.CodeTokenMissing},
		"not a token":          {"token", auth.CodeTokenMalformed},
		"two parts":            {parts[0] + "." + parts[1], auth.CodeTokenMalformed},
		"four parts":           {whole + "." + parts[2], auth.CodeTokenMalformed},
		"line break":           {whole[:20] + "\n" + whole[20:], auth.CodeTokenMalformed},
		"padding":              {whole + "=", auth.CodeTokenMalformed},
		"too long":             {strings.Repeat("a", 1<<20), auth.CodeTokenMalformed},
		"header not JSON":      {segment("{") + "." + parts[1] + "." + parts[2], auth.CodeTokenMalformed},
		"header null":          {segment("null") + "." + parts[1] + "." + parts[2], auth.CodeTokenInvalid},
		"claims not an object": {parts[0] + "." + segment("[]") + "." + parts[2], auth.CodeTokenMalformed},

		"no signature":      {parts[0] + "." + parts[1] + ".", auth.CodeTokenInvalid},
		"other claims":      {parts[0] + "." + segment(`{"sub":"bob"}`) + "." + parts[2], auth.CodeTokenInvalid},
		"other secret":      {sign(t, jwt.SigningMethodHS256, ticketKey, claims(nil), nil), auth.CodeTokenInvalid},
		"alg none":          {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(nil), nil), auth.CodeTokenInvalid},
		"alg None":          {segment(`{"alg":"None","typ":"JWT"}`) + "." + parts[1] + ".", auth.CodeTokenInvalid},
		"alg absent":        {segment(`{"typ":"JWT"}`) + "." + parts[1] + "." + parts[2], auth.CodeTokenInvalid},
		"alg a number":      {segment(`{"alg":1}`) + "." + parts[1] + "." + parts[2], auth.CodeTokenInvalid},
		"alg HS512":         {sign(t, jwt.SigningMethodHS512, secret, claims(nil), nil), auth.CodeTokenInvalid},
		"alg RS256":         {sign(t, jwt.SigningMethodRS256, rsaKey(), claims(nil), nil), auth.CodeTokenInvalid},
		"crit":              {sign(t, jwt.SigningMethodHS256, secret, claims(nil), map[string]any{"crit": []string{"b64"}}), auth.CodeTokenInvalid},
		"kid not a text":    {sign(t, jwt.SigningMethodHS256, secret, claims(nil), map[string]any{"kid": 1}), auth.CodeTokenInvalid},
		"typ of a ticket":   {sign(t, jwt.SigningMethodHS256, secret, claims(nil), map[string]any{"typ": "ticket+jwt"}), auth.CodeTokenInvalid},
		"signature cut off": {whole[:len(whole)-3], auth.CodeTokenInvalid},

		"no sub":                  {signHS(t, claims(jwt.MapClaims{"sub": nil})), auth.CodeTokenInvalid},
		"empty sub":               {signHS(t, claims(jwt.MapClaims{"sub": ""})), auth.CodeTokenInvalid},
		"sub too long":            {signHS(t, claims(jwt.MapClaims{"sub": strings.Repeat("u", 129)})), auth.CodeInvalidSubject},
		"sub of bad UTF-8":        {signHS(t, claims(jwt.MapClaims{"sub": "Zo\xeb"})), auth.CodeInvalidSubject},
		"sub decomposed":          {signHS(t, claims(jwt.MapClaims{"sub": "Zoe\u0308"})), auth.CodeInvalidSubject},
		"sub a dot":               {signHS(t, claims(jwt.MapClaims{"sub": "."})), auth.CodeInvalidSubject},
		"sub two dots":            {signHS(t, claims(jwt.MapClaims{"sub": ".."})), auth.CodeInvalidSubject},
		"sub with control":        {signHS(t, claims(jwt.MapClaims{"sub": "a\nb"})), auth.CodeInvalidSubject},
		"sub a number":            {signHS(t, claims(jwt.MapClaims{"sub": 7})), auth.CodeTokenInvalid},
		"device empty":            {signHS(t, claims(jwt.MapClaims{"device": ""})), auth.CodeTokenInvalid},
		"device too long":         {signHS(t, claims(jwt.MapClaims{"device": strings.Repeat("d", 129)})), auth.CodeTokenInvalid},
		"device a number":         {signHS(t, claims(jwt.MapClaims{"device": 7})), auth.CodeTokenInvalid},
		"scope a number":          {signHS(t, claims(jwt.MapClaims{"scope": 7})), auth.CodeTokenInvalid},
		"scope of numbers":        {signHS(t, claims(jwt.MapClaims{"scope": []any{"admin", 7}})), auth.CodeTokenInvalid},
		"no exp":                  {signHS(t, claims(jwt.MapClaims{"exp": nil})), auth.CodeTokenInvalid},
		"exp a text":              {signHS(t, claims(jwt.MapClaims{"exp": "tomorrow"})), auth.CodeTokenInvalid},
		"exp after the year 9999": {signHS(t, claims(jwt.MapClaims{"exp": 1e15})), auth.CodeTokenInvalid},
		"exp huge":                {signHS(t, claims(jwt.MapClaims{"exp": math.MaxFloat64})), ""},
		"iat a text":              {signHS(t, claims(jwt.MapClaims{"iat": "now"})), auth.CodeTokenInvalid},
		"iat negative":            {signHS(t, claims(jwt.MapClaims{"iat": -1})), auth.CodeTokenInvalid},
		"nbf a text":              {signHS(t, claims(jwt.MapClaims{"nbf": "now"})), auth.CodeTokenInvalid},
		"no iss":                  {signHS(t, claims(jwt.MapClaims{"iss": nil})), auth.CodeTokenInvalid},
		"other iss":               {signHS(t, claims(jwt.MapClaims{"iss": "https://issuer.example/"})), auth.CodeTokenInvalid},
		"iss a number":            {signHS(t, claims(jwt.MapClaims{"iss": 7})), auth.CodeTokenInvalid},
		"no aud":                  {signHS(t, claims(jwt.MapClaims{"aud": nil})), auth.CodeTokenInvalid},
		"other aud":               {signHS(t, claims(jwt.MapClaims{"aud": []string{"other"}})), auth.CodeTokenInvalid},
		"expired":                 {signHS(t, claims(jwt.MapClaims{"exp": start.Unix()})), auth.CodeTokenExpired},
		"not yet valid":           {signHS(t, claims(jwt.MapClaims{"nbf": start.Unix() + 1})), auth.CodeTokenNotYetValid},
		"expired, other aud": {
			signHS(t, claims(jwt.MapClaims{"exp": start.Unix() - 9, "aud": "other"})), auth.CodeTokenInvalid,
		},
	}
	// Converting a float that is too large to an integer depends on the machine, so the
	// code of the refusal does too.
	huge := tests["exp huge"].token
	delete(tests, "exp huge")
	if _, err := v.Verify(huge); err == nil {
		t.Error("an exp of 1e308 was accepted")
	}

	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second time the cache must refuse it, too
				_, err := v.Verify(tt.token)
				wantCode(t, err, tt.code)
				if err != nil && tt.token != "" {
					quotesNothing(t, err, tt.token)
				}
			}
		})
	}
}

// quotesNothing checks that an error quotes no part of the token and no claim.
func quotesNothing(t *testing.T, err error, token string) {
	t.Helper()
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part[:8]) {
			t.Errorf("%v quotes the token", err)
		}
	}
	for _, claim := range []string{"alice", "example", "tomorrow", "HS512", "RS256", "Zo"} {
		if strings.Contains(err.Error(), claim) {
			t.Errorf("%v quotes %q", err, claim)
		}
	}
}

func TestVerifyPublicKeys(t *testing.T) {
	rsaPEM := publicPEM(t, &rsaKey().PublicKey)
	tests := map[string]struct {
		algorithm string
		public    any
		method    jwt.SigningMethod
		key       any
	}{
		"RS256": {auth.RS256, &rsaKey().PublicKey, jwt.SigningMethodRS256, rsaKey()},
		"ES256": {auth.ES256, &ecKey().PublicKey, jwt.SigningMethodES256, ecKey()},
		"EdDSA": {auth.EdDSA, ed25519Key().Public(), jwt.SigningMethodEdDSA, ed25519Key()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			public := publicPEM(t, tt.public)
			v := newVerifier(t, auth.Config{
				Algorithm: tt.algorithm, PublicKeyPEM: public, TicketKey: ticketKey, Now: newClock().now,
			})
			token := sign(t, tt.method, tt.key, good(), nil)
			p, err := v.Verify(token)
			if err != nil || p.User != "alice" {
				t.Errorf("got %+v, %v", p, err)
			}

			// A public key must not be usable as the secret of an HMAC, in any encoding.
			der, _ := pem.Decode(public)
			for _, key := range [][]byte{public, []byte(strings.TrimSpace(string(public))), der.Bytes, rsaPEM} {
				_, err = v.Verify(sign(t, jwt.SigningMethodHS256, key, good(), nil))
				wantCode(t, err, auth.CodeTokenInvalid)
			}
			_, err = v.Verify(sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(), nil))
			wantCode(t, err, auth.CodeTokenInvalid)
			_, err = v.Verify(sign(t, jwt.SigningMethodPS256, rsaKey(), good(), nil))
			wantCode(t, err, auth.CodeTokenInvalid)
			_, err = v.Verify(sign(t, jwt.SigningMethodES384, ec384Key(), good(), nil))
			wantCode(t, err, auth.CodeTokenInvalid)
			// The signature is of other claims.
			parts, others := strings.Split(token, "."), strings.Split(sign(t, tt.method, tt.key, with(jwt.MapClaims{"sub": "bob"}), nil), ".")
			_, err = v.Verify(parts[0] + "." + parts[1] + "." + others[2])
			wantCode(t, err, auth.CodeTokenInvalid)
		})
	}
	t.Run("PKCS#1", func(t *testing.T) {
		block := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)})
		v := newVerifier(t, auth.Config{Algorithm: auth.RS256, PublicKeyPEM: block, TicketKey: ticketKey, Now: newClock().now})
		_, err := v.Verify(sign(t, jwt.SigningMethodRS256, rsaKey(), good(), nil))
		wantCode(t, err, "")
	})
}

func TestVerifyAtTheEdgesOfTime(t *testing.T) {
	const leeway = 30 * time.Second
	exp, nbf := start.Add(time.Minute), start.Add(time.Second)
	claims := with(jwt.MapClaims{"exp": exp.Unix(), "nbf": nbf.Unix()})
	tests := map[string]struct {
		leeway time.Duration
		at     time.Time
		code   string
	}{
		"just before it is valid":                   {0, nbf.Add(-1), auth.CodeTokenNotYetValid},
		"from the time it is valid":                 {0, nbf, ""},
		"just before it expires":                    {0, exp.Add(-1), ""},
		"when it expires":                           {0, exp, auth.CodeTokenExpired},
		"just before the leeway of the beginning":   {leeway, nbf.Add(-leeway - 1), auth.CodeTokenNotYetValid},
		"from the leeway of the beginning on":       {leeway, nbf.Add(-leeway), ""},
		"just before the leeway of the expiry ends": {leeway, exp.Add(leeway - 1), ""},
		"when the leeway of the expiry ends":        {leeway, exp.Add(leeway), auth.CodeTokenExpired},
	}
	token := signHS(t, claims)
	for name, tt := range tests {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cached %t", name, cached), func(t *testing.T) {
				v, c := verifierWith(t, tt.leeway)
				if cached {
					c.set(nbf)
					_, err := v.Verify(token)
					wantCode(t, err, "")
				}
				c.set(tt.at)
				p, err := v.Verify(token)
				wantCode(t, err, tt.code)
				if err == nil && !p.ExpiresAt.Equal(exp.Add(tt.leeway)) {
					t.Errorf("expires at %v", p.ExpiresAt)
				}
			})
		}
	}
}

// verifierWith returns a verifier with a leeway, and its clock.
func verifierWith(t *testing.T, leeway time.Duration) (*auth.Verifier, *clock) {
	t.Helper()
	c := newClock()
	cfg := hs256(c)
	cfg.Leeway = leeway
	return newVerifier(t, cfg), c
}

// TestIssuedInTheFuture: a token from the future would outlive the next cut-off.
func TestIssuedInTheFuture(t *testing.T) {
	const leeway = 30 * time.Second
	iat := start.Add(time.Minute)
	token := signHS(t, with(jwt.MapClaims{"iat": iat.Unix()}))
	for name, tt := range map[string]struct {
		leeway time.Duration
		at     time.Time
		code   string
	}{
		"when it was issued":            {0, iat, ""},
		"just before it was issued":     {0, iat.Add(-1), auth.CodeTokenFromFuture},
		"as early as the leeway allows": {leeway, iat.Add(-leeway), ""},
		"just before the leeway":        {leeway, iat.Add(-leeway - 1), auth.CodeTokenFromFuture},
		"long before the leeway":        {leeway, iat.Add(-leeway).Add(-1000 * time.Hour), auth.CodeTokenFromFuture},
	} {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cached %t", name, cached), func(t *testing.T) {
				v, c := verifierWith(t, tt.leeway)
				if cached {
					c.set(iat)
					_, err := v.Verify(token)
					wantCode(t, err, "")
				}
				c.set(tt.at)
				_, err := v.Verify(token)
				wantCode(t, err, tt.code)
			})
		}
	}
}

func TestFractionsOfASecond(t *testing.T) {
	c := newClock()
	v := newVerifier(t, hs256(c))
	half := float64(start.Unix()) + .5
	p, err := v.Verify(signHS(t, with(jwt.MapClaims{"iat": half, "exp": half + 60})))
	if err != nil || !p.IssuedAt.Equal(start) || !p.ExpiresAt.Equal(start.Add(time.Minute)) {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestErrorsDifferByCode(t *testing.T) {
	v := newVerifier(t, hs256(newClock()))
	_, err := v.Verify(signHS(t, with(jwt.MapClaims{"sub": nil})))
	if !errors.Is(err, auth.ErrTokenInvalid) || errors.Is(err, auth.ErrTokenExpired) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(err.Error(), "sub") {
		t.Errorf("%v does not name the claim", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := newClock()
	cfg := hs256(c)
	cfg.CacheSize = 8
	v := newVerifier(t, cfg)
	var tokens []string
	for i := range 32 {
		tokens = append(tokens, signHS(t, with(jwt.MapClaims{"sub": fmt.Sprint("user", i)})))
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 500 {
				n := (i*7 + worker) % len(tokens)
				p, err := v.Verify(tokens[n])
				if err == nil && p.User != im.UserID(fmt.Sprint("user", n)) {
					t.Errorf("token of user%d is %s", n, p.User)
				}
				if n == 0 {
					v.Cut(im.TokenCut{User: "user31", At: start})
					_, err := v.Verify(tokens[31])
					wantCode(t, err, auth.CodeTokenCutOff)
				}
				ticket, _ := v.IssueTicket(p)
				if err == nil {
					_, err := v.VerifyTicket(ticket)
					if n != 31 {
						wantCode(t, err, "")
					}
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkVerify(b *testing.B) {
	c := newClock()
	token := signHS(b, good())
	b.Run("cached", func(b *testing.B) {
		v := newVerifier(b, hs256(c))
		for b.Loop() {
			if _, err := v.Verify(token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("uncached HS256", func(b *testing.B) {
		benchmarkUncached(b, hs256(c), jwt.SigningMethodHS256, secret)
	})
	b.Run("uncached RS256", func(b *testing.B) {
		benchmarkUncached(b, auth.Config{
			Algorithm: auth.RS256, PublicKeyPEM: publicPEM(b, &rsaKey().PublicKey), TicketKey: ticketKey, Now: c.now,
		}, jwt.SigningMethodRS256, rsaKey())
	})
}

// benchmarkUncached verifies more tokens in turn than the cache holds.
func benchmarkUncached(b *testing.B, cfg auth.Config, method jwt.SigningMethod, key any) {
	cfg.CacheSize = 2
	v := newVerifier(b, cfg)
	var tokens [8]string
	for i := range tokens {
		tokens[i] = sign(b, method, key, with(jwt.MapClaims{"sub": fmt.Sprint("user", i)}), nil)
	}
	i := 0
	for b.Loop() {
		if _, err := v.Verify(tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
