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

// Supported signature algorithms.
const (
	HS256 = "HS256"
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// MinSecret is the minimum length of a secret and of a ticket key, in bytes.
const MinSecret = 32

// MaxLeeway is the maximum leeway. A longer one would make exp meaningless.
const MaxLeeway = 10 * time.Minute

const (
	defaultTicketTTL = time.Hour
	defaultCacheSize = 10_000
)

// Config configures a [Verifier]. Set exactly one of Secret, PublicKeyPEM and JWKSURL:
// Secret for HS256, one of the others for every other algorithm.
type Config struct {
	// Algorithm is the only accepted one; HS256 if empty.
	Algorithm string
	// Secret is the key of HS256, at least [MinSecret] bytes.
	Secret []byte
	// PublicKeyPEM is a single public key or certificate in PEM.
	PublicKeyPEM []byte
	// JWKSURL is the address of a JSON Web Key Set: https, or http on a loopback
	// address.
	JWKSURL string
	// KeySetTransport fetches the key set; http.DefaultTransport if nil.
	KeySetTransport http.RoundTripper
	// Issuer and Audience, if not empty, must match iss and aud.
	Issuer   string
	Audience string
	// Leeway is the tolerance for clock differences in exp, nbf and iat, at most
	// [MaxLeeway].
	Leeway time.Duration
	// TicketKey signs tickets: at least [MinSecret] bytes, and not the Secret.
	TicketKey []byte
	// TicketTTL is the lifetime of a ticket; an hour if zero.
	TicketTTL time.Duration
	// MaxAge limits the age of a token, by its iat, whatever its exp says. If it is
	// set, a token without iat is refused. Zero sets no limit.
	MaxAge time.Duration
	// CacheSize is the approximate maximum number of verified tokens to cache; 10,000 if zero.
	CacheSize int
	// Now returns the current time; time.Now if nil.
	Now func() time.Time
	// Log receives failures to fetch the key set; slog.Default() if nil.
	Log *slog.Logger
}

// New returns a [Verifier], or an error if the configuration is invalid. With JWKSURL
// it fetches the key set once before it returns, and then every 10 minutes, or every 15 s
// while there is no key, until ctx ends. A failure to fetch it is not an error, because
// the server that publishes the keys may start after this one: see [Verifier.Ready].
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
		// A withdrawn key must not live on in the cache.
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

// CheckKeys checks the algorithm and the public key or the URL of the key set, and
// nothing else. It fetches nothing.
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

// check validates a configuration whose defaults are filled in. It does not look at the public key
// and the URL of the key set, but only at whether they are given.
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
		return errors.New("auth: set exactly one of a secret, a public key and a key set URL")
	case c.Algorithm == HS256 && c.Secret == nil:
		return errors.New("auth: HS256 needs a secret, not a public key or a key set URL")
	case c.Algorithm != HS256 && c.Secret != nil:
		return fmt.Errorf("auth: %s needs a public key or a key set URL, not a secret", c.Algorithm)
	case c.Secret != nil && len(c.Secret) < MinSecret:
		return fmt.Errorf("auth: the secret must have at least %d bytes", MinSecret)
	case bytes.Contains(c.Secret, []byte("-----BEGIN ")):
		// A public key used as a secret would let anyone sign tokens.
		return errors.New("auth: the secret is a PEM file: set it as the public key, with its algorithm")
	case len(c.TicketKey) < MinSecret:
		return fmt.Errorf("auth: the ticket key must have at least %d bytes", MinSecret)
	case bytes.Equal(c.TicketKey, c.Secret):
		return errors.New("auth: the ticket key must not be the secret")
	case c.Leeway < 0 || c.Leeway > MaxLeeway:
		return fmt.Errorf("auth: the leeway must be from 0 to %v", MaxLeeway)
	case c.MaxAge < 0:
		return errors.New("auth: the maximum age of tokens must not be negative")
	case c.TicketTTL < time.Second:
		return errors.New("auth: the lifetime of tickets must be at least a second")
	case c.CacheSize < 0:
		return errors.New("auth: the size of the cache must not be negative")
	}
	return nil
}
