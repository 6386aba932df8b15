package auth_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/im"
)

func TestMint(t *testing.T) {
	c := newClock()
	c.advance(700 * time.Millisecond)
	cfg := hs256(c)
	cfg.Issuer, cfg.Audience = "imapi", "chat"
	v := newVerifier(t, cfg)

	token, err := auth.Mint(secret, auth.Grant{
		User: "alice", Device: "phone", Admin: true, TTL: time.Hour, Issuer: "imapi", Audience: "chat",
	}, c.now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Verify(token)
	want := auth.Principal{
		Actor:    im.Actor{User: "alice", Device: "phone", Admin: true},
		IssuedAt: start, ExpiresAt: start.Add(time.Hour),
	}
	if diff := cmp.Diff(want, p); err != nil || diff != "" {
		t.Errorf("%v, the token's principal (-want +got):\n%s", err, diff)
	}

	plain, err := auth.Mint(secret, auth.Grant{User: "bob", TTL: time.Minute}, c.now())
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(plain, claims); err != nil {
		t.Fatal(err)
	}
	if len(claims) != 3 {
		t.Errorf("claims %v, want only sub, iat and exp", claims)
	}
}

func TestMintRefuses(t *testing.T) {
	tests := map[string]struct {
		secret []byte
		grant  auth.Grant
		want   string
	}{
		"short secret": {secret[:31], auth.Grant{User: "alice", TTL: time.Hour}, "secret"},
		"no user":      {secret, auth.Grant{TTL: time.Hour}, "user id"},
		"bad user":     {secret, auth.Grant{User: "Zoe\u0308", TTL: time.Hour}, "user id"},
		"bad device":   {secret, auth.Grant{User: "alice", Device: "\n", TTL: time.Hour}, "device id"},
		"no time":      {secret, auth.Grant{User: "alice"}, "second"},
		"past":         {secret, auth.Grant{User: "alice", TTL: -time.Hour}, "second"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token, err := auth.Mint(tt.secret, tt.grant, start)
			if token != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v", token, err)
			}
		})
	}
	end := time.Date(9990, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := auth.Mint(secret, auth.Grant{User: "alice", TTL: math.MaxInt64}, end); err == nil {
		t.Error("minted a token that expires after the year 9999")
	}
}

func TestBearer(t *testing.T) {
	tests := []struct{ header, token, code string }{
		{"Bearer abc", "abc", ""},
		{"bearer abc", "abc", ""},
		{"BEARER  abc ", "abc", ""},
		{"", "", auth.CodeTokenMissing},
		{"Bearer", "", auth.CodeTokenMissing},
		{"Bearer ", "", auth.CodeTokenMissing},
		{"Basic abc", "", auth.CodeTokenMissing},
		{"abc", "", auth.CodeTokenMissing},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			token, err := auth.Bearer(tt.header)
			wantCode(t, err, tt.code)
			if token != tt.token {
				t.Errorf("got %q, want %q", token, tt.token)
			}
		})
	}
}
