package auth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
)

func TestNewRefuses(t *testing.T) {
	rsaPEM := publicPEM(t, &rsaKey().PublicKey)
	ecPEM := publicPEM(t, &ecKey().PublicKey)
	edPEM := publicPEM(t, ed25519Key().Public())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ecKey())
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})

	tests := map[string]struct {
		change func(*auth.Config)
		want   string
	}{
		"unknown algorithm":          {func(c *auth.Config) { c.Algorithm = "HS512" }, "algorithm"},
		"algorithm none":             {func(c *auth.Config) { c.Algorithm = "none" }, "algorithm"},
		"no key":                     {func(c *auth.Config) { c.Secret = nil }, "exactly one"},
		"two keys":                   {func(c *auth.Config) { c.PublicKeyPEM = rsaPEM }, "exactly one"},
		"two other keys":             {func(c *auth.Config) { c.Secret, c.PublicKeyPEM, c.JWKSURL = nil, rsaPEM, "https://x" }, "exactly one"},
		"secret for RS256":           {func(c *auth.Config) { c.Algorithm = auth.RS256 }, "not a secret"},
		"public key for HS256":       {func(c *auth.Config) { c.Secret, c.PublicKeyPEM = nil, rsaPEM }, "needs a secret"},
		"key set for HS256":          {func(c *auth.Config) { c.Secret, c.JWKSURL = nil, "https://x" }, "needs a secret"},
		"short secret":               {func(c *auth.Config) { c.Secret = secret[:31] }, "32 bytes"},
		"empty secret":               {func(c *auth.Config) { c.Secret = []byte{} }, "32 bytes"},
		"public key as secret":       {func(c *auth.Config) { c.Secret = rsaPEM }, "PEM"},
		"no ticket key":              {func(c *auth.Config) { c.TicketKey = nil }, "ticket key"},
		"ticket key is the secret":   {func(c *auth.Config) { c.TicketKey = secret }, "ticket key"},
		"negative leeway":            {func(c *auth.Config) { c.Leeway = -1 }, "leeway"},
		"leeway too long":            {func(c *auth.Config) { c.Leeway = time.Hour }, "leeway"},
		"negative ticket life":       {func(c *auth.Config) { c.TicketTTL = -time.Hour }, "tickets"},
		"negative cache":             {func(c *auth.Config) { c.CacheSize = -1 }, "cache"},
		"EC key for RS256":           {asymmetric(auth.RS256, ecPEM), "RS256"},
		"RSA key for ES256":          {asymmetric(auth.ES256, rsaPEM), "ES256"},
		"Ed25519 key for ES256":      {asymmetric(auth.ES256, edPEM), "ES256"},
		"RSA key for EdDSA":          {asymmetric(auth.EdDSA, rsaPEM), "EdDSA"},
		"P-384 for ES256":            {asymmetric(auth.ES256, publicPEM(t, &ec384Key().PublicKey)), "ES256"},
		"weak RSA":                   {asymmetric(auth.RS256, publicPEM(t, &weak.PublicKey)), "2048"},
		"no PEM":                     {asymmetric(auth.RS256, []byte("key")), "PEM"},
		"empty PEM":                  {asymmetric(auth.RS256, []byte{}), "PEM"},
		"private PEM":                {asymmetric(auth.ES256, private), "private"},
		"PEM of something else":      {asymmetric(auth.ES256, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL"})), "not a public key"},
		"PEM that cannot be read":    {asymmetric(auth.ES256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"})), "cannot be read"},
		"bad certificate":            {asymmetric(auth.ES256, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"})), "cannot be read"},
		"two PEMs":                   {asymmetric(auth.RS256, append(slices.Clip(rsaPEM), ecPEM...)), "a single key"},
		"key set over http":          {keySet("http://keys.example/jwks"), "https"},
		"key set over http, by name": {keySet("http://localhost.example/jwks"), "https"},
		"key set from a file":        {keySet("file:///etc/jwks"), "https"},
		"key set without a host":     {keySet("https:///jwks"), "https"},
		"key set of no URL":          {keySet("://"), "https"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := hs256(newClock())
			tt.change(&cfg)
			_, err := auth.New(context.Background(), cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want one about %q", err, tt.want)
			}
		})
	}
}

func asymmetric(algorithm string, public []byte) func(*auth.Config) {
	return func(c *auth.Config) { c.Secret, c.Algorithm, c.PublicKeyPEM = nil, algorithm, public }
}

func keySet(url string) func(*auth.Config) {
	return func(c *auth.Config) { c.Secret, c.Algorithm, c.JWKSURL = nil, auth.RS256, url }
}
