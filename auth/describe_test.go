package auth_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
)

func TestDescribe(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	secret := []byte(strings.Repeat("s", auth.MinSecret))
	token, err := auth.Mint(secret, auth.Grant{User: "爱丽丝", TTL: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	d, err := auth.Describe(token)
	if err != nil || d.Algorithm != auth.HS256 || d.Subject != "爱丽丝" || !d.Expires.Equal(now.Add(time.Hour)) || !d.NotBefore.IsZero() {
		t.Errorf("Describe = %+v, %v", d, err)
	}
	// A token that is expired or signed by an unknown key is described, too.
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":7,"exp":1,"nbf":2}`))
	header, _, _ := strings.Cut(token, ".")
	d, err = auth.Describe(header + "." + claims + ".AAAA")
	if err != nil || d.Subject != "" || d.Expires.Unix() != 1 || d.NotBefore.Unix() != 2 {
		t.Errorf("Describe = %+v, %v", d, err)
	}
	for _, malformed := range []string{"", "a.b", "not a token", header + ".e30", header + ".%%.AAAA"} {
		if _, err := auth.Describe(malformed); !errors.Is(err, auth.ErrTokenMalformed) {
			t.Errorf("Describe(%q): %v", malformed, err)
		}
	}
}
