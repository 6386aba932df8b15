package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The algorithms that tokens can be signed with.
const (
	HS256 = "HS256"
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// MinSecret is the least length of a secret and of a ticket key, in bytes.
const MinSecret = 32

// MaxLeeway is the longest leeway: more would make exp meaningless.
const MaxLeeway = 10 * time.Minute

const (
	defaultTicketTTL = time.Hour
	defaultCacheSize = 10_000
)

// Config says which tokens are accepted. Exactly one of Secret, PublicKeyPEM
// and JWKSURL is given: Secret for HS256, one of the others for the rest.
type Config struct {
	// Algorithm is the one that is accepted; HS256 if empty.
	Algorithm string
	// Secret is the key of HS256, of at least [MinSecret] bytes.
	Secret []byte
	// PublicKeyPEM is one public key or certificate in PEM form.
	PublicKeyPEM []byte
	// JWKSURL is where a JSON Web Key Set is fetched: https, or http on a
	// loopback address.
	JWKSURL string
	// KeySetTransport fetches the key set; http.DefaultTransport if nil.
	KeySetTransport http.RoundTripper
	// Issuer and Audience, if not empty, are demanded of iss and aud.
	Issuer   string
	Audience string
	// Leeway is allowed for clocks that differ, on exp, nbf and iat; at most
	// [MaxLeeway].
	Leeway time.Duration
	// TicketKey signs tickets: at least [MinSecret] bytes, not the Secret.
	TicketKey []byte
	// TicketTTL is how long a ticket is good for; an hour if zero.
	TicketTTL time.Duration
	// MaxAge is how long after it was issued a token ends at the latest, whatever its
	// exp says; one that does not say when it was issued is refused then. 0 sets no
	// limit.
	MaxAge time.Duration
	// CacheSize is how many verified tokens are remembered at most; 10,000
	// if zero.
	CacheSize int
	// Now tells the time; time.Now if nil.
	Now func() time.Time
	// Log is told when a key set cannot be fetched; slog.Default() if nil.
	Log *slog.Logger
}

// New makes a [Verifier], or tells what is wrong with the configuration. With
// JWKSURL it fetches the keys once before it returns, and again in the
// background until ctx ends; that they cannot be fetched yet is no error, for
// who serves them may start later than this server: see [Verifier.Ready].
func New(ctx context.Context, cfg Config) (*Verifier, error) {
	if cfg.Algorithm == "" {
		cfg.Algorithm = HS256
	}
	if cfg.TicketTTL == 0 {
		cfg.TicketTTL = defaultTicketTTL
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = defaultCacheSize
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}

	v := &Verifier{
		now:       cfg.Now,
		leeway:    cfg.Leeway,
		maxAge:    cfg.MaxAge,
		cuts:      newCuts(cfg.Leeway),
		cache:     newCache(cfg.CacheSize),
		tickets:   newTicketParser(cfg.Now),
		ticketKey: bytes.Clone(cfg.TicketKey),
		ticketTTL: cfg.TicketTTL,
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{cfg.Algorithm}),
		jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(cfg.Leeway),
		jwt.WithTimeFunc(cfg.Now),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	v.parser = jwt.NewParser(options...)

	switch {
	case cfg.JWKSURL != "":
		// A key that was withdrawn must not live on in the cache.
		set, err := newKeySet(ctx, cfg, v.cache.clear)
		if err != nil {
			return nil, err
		}
		v.keys = set
	case cfg.PublicKeyPEM != nil:
		key, err := cfg.publicKey()
		if err != nil {
			return nil, err
		}
		v.keys = fixedKey{key}
	default:
		v.keys = fixedKey{bytes.Clone(cfg.Secret)}
	}
	return v, nil
}

// CheckKeys finds what is wrong with the algorithm and the public key or the URL of
// the key set, before there is anything else to make a [Verifier] of. It fetches nothing.
func (c Config) CheckKeys() error {
	if err := c.checkAlgorithm(); err != nil {
		return err
	}
	var err error
	if c.PublicKeyPEM != nil {
		_, err = c.publicKey()
	} else if c.JWKSURL != "" {
		_, err = c.keySetAddress()
	}
	return err
}

func (c Config) publicKey() (any, error) {
	key, err := parsePublicKey(c.PublicKeyPEM)
	if err != nil {
		return nil, err
	}
	return key, fits(c.Algorithm, key)
}

func (c Config) keySetAddress() (*url.URL, error) {
	address, err := url.Parse(c.JWKSURL)
	if err != nil || !safe(address) {
		return nil, errors.New("auth: the key set URL must be https, or http on a loopback address")
	}
	return address, nil
}

func (c Config) checkAlgorithm() error {
	switch c.Algorithm {
	case HS256, RS256, ES256, EdDSA:
		return nil
	default:
		return errors.New("auth: the algorithm must be one of HS256, RS256, ES256, EdDSA")
	}
}

// check finds what is wrong with a configuration whose defaults are filled in,
// but for the keys themselves.
func (c Config) check() error {
	if err := c.checkAlgorithm(); err != nil {
		return err
	}
	sources := 0
	for _, given := range []bool{c.Secret != nil, c.PublicKeyPEM != nil, c.JWKSURL != ""} {
		if given {
			sources++
		}
	}
	switch {
	case sources != 1:
		return errors.New("auth: exactly one of a secret, a public key and a key set URL must be given")
	case c.Algorithm == HS256 && c.Secret == nil:
		return errors.New("auth: HS256 needs a secret, not a public key")
	case c.Algorithm != HS256 && c.Secret != nil:
		return fmt.Errorf("auth: %s needs a public key or a key set URL, not a secret", c.Algorithm)
	case c.Secret != nil && len(c.Secret) < MinSecret:
		return fmt.Errorf("auth: the secret must have at least %d bytes", MinSecret)
	case bytes.Contains(c.Secret, []byte("-----BEGIN ")):
		// What is public by nature would let anyone sign.
		return errors.New("auth: the secret is a PEM file; give it as the public key, with its algorithm")
	case len(c.TicketKey) < MinSecret:
		return fmt.Errorf("auth: the ticket key must have at least %d bytes", MinSecret)
	case bytes.Equal(c.TicketKey, c.Secret):
		return errors.New("auth: the ticket key must not be the secret")
	case c.Leeway < 0 || c.Leeway > MaxLeeway:
		return fmt.Errorf("auth: the leeway must be from 0 to %v", MaxLeeway)
	case c.MaxAge < 0:
		return errors.New("auth: the maximum age of tokens must not be negative")
	case c.TicketTTL < time.Second:
		return errors.New("auth: tickets must be good for a second at least")
	case c.CacheSize < 0:
		return errors.New("auth: the cache cannot have less than no room")
	}
	return nil
}
