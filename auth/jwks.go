package auth

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// keySetInterval is how often the key set is fetched anyway: so long may
	// a key that was withdrawn be good.
	keySetInterval = 10 * time.Minute
	// keySetPause is the least time between two fetches, whatever key ids
	// tokens name, for anyone can make up a token.
	keySetPause = 15 * time.Second
	// keySetTimeout bounds a fetch, and with it the request that waits.
	keySetTimeout = 5 * time.Second
	// maxKeySet is the largest key set, in bytes.
	maxKeySet = 1 << 20
)

// keySet holds the keys of a JSON Web Key Set that fit the algorithm.
type keySet struct {
	url       string
	name      string // the URL as the log may have it
	algorithm string
	client    *http.Client
	now       func() time.Time
	log       *slog.Logger
	// changed is called after another set of keys has come into force.
	changed func()

	// current is nil until the set was fetched once; its length may be 0.
	current atomic.Pointer[[]setKey]

	// mu is held during a fetch: who waits for it finds the outcome.
	mu   sync.Mutex
	last time.Time // when the last fetch began
	err  error     // of the last fetch
}

// setKey is a key of a set.
type setKey struct {
	id     string
	public any
}

// newKeySet fetches the set once and then in the background until ctx ends. It
// is an error only if the URL is unfit.
func newKeySet(ctx context.Context, cfg Config, changed func()) (*keySet, error) {
	address, err := cfg.keySetAddress()
	if err != nil {
		return nil, err
	}
	set := &keySet{
		url:       cfg.JWKSURL,
		name:      plainName(address),
		algorithm: cfg.Algorithm,
		now:       cfg.Now,
		log:       cfg.Log,
		changed:   changed,
		client: &http.Client{
			Transport: cfg.KeySetTransport,
			Timeout:   keySetTimeout,
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				if !safe(r.URL) || len(via) >= 3 {
					return badAnswer("redirected to where keys must not come from")
				}
				return nil
			},
		},
	}
	set.refresh(ctx, func() bool { return true })
	go set.keepFresh(ctx)
	return set, nil
}

// plainName returns an address as the log may have it: keys to it are put into
// the user info, the query and the fragment.
func plainName(address *url.URL) string {
	return (&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path, RawPath: address.RawPath}).String()
}

// badAnswer is an answer from which no key set can be read. Its text quotes
// nothing.
type badAnswer string

// Error returns the text.
func (b badAnswer) Error() string { return string(b) }

// fetchFault returns what the log may have of why a fetch failed. Errors of
// net/http name the whole address, where the server redirected to, or what it
// answered; only those that are known to quote nothing keep their texts.
func fetchFault(err error) string {
	if named, ok := errors.AsType[*url.Error](err); ok {
		err = named.Err
	}
	var (
		answer badAnswer
		dial   *net.OpError
		lookup *net.DNSError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "took too long"
	case errors.As(err, &answer):
		return answer.Error()
	case errors.As(err, &dial):
		return dial.Error()
	case errors.As(err, &lookup):
		return lookup.Error()
	case errors.As(err, &cert):
		return cert.Error()
	case errors.As(err, &record):
		return record.Error()
	}
	for _, known := range []error{http.ErrSchemeMismatch, context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fmt.Sprintf("%T", err)
}

func isTimeout(err error) bool {
	timed, ok := errors.AsType[net.Error](err)
	return ok && timed.Timeout()
}

// safe reports whether what comes from the address can be trusted to.
func safe(address *url.URL) bool {
	switch address.Scheme {
	case "https":
		return address.Hostname() != ""
	case "http":
		host := address.Hostname()
		return host == "localhost" || net.ParseIP(host).IsLoopback()
	default:
		return false
	}
}

// keys returns the keys that a token which names kid may be signed with, and
// fetches the set if it is not known and the last time is long enough ago.
func (s *keySet) keys(kid string) (any, error) {
	if keys := s.find(kid); keys != nil {
		return jwt.VerificationKeySet{Keys: keys}, nil
	}
	err := s.refresh(context.Background(), func() bool {
		return s.find(kid) == nil && s.now().Sub(s.last) >= keySetPause
	})
	keys := s.find(kid)
	switch {
	case keys != nil:
		return jwt.VerificationKeySet{Keys: keys}, nil
	case err != nil:
		// The key may well be there, where it cannot be fetched.
		return nil, ErrKeysUnavailable
	default:
		return nil, ErrTokenInvalid
	}
}

// ready implements [keySource].
func (s *keySet) ready() error {
	if set := s.current.Load(); set == nil || len(*set) == 0 {
		return ErrKeysUnavailable
	}
	return nil
}

// find returns the keys with this id; for a token that names none, all.
func (s *keySet) find(kid string) []jwt.VerificationKey {
	set := s.current.Load()
	if set == nil {
		return nil
	}
	var found []jwt.VerificationKey
	for _, key := range *set {
		if kid == "" || key.id == kid {
			found = append(found, key.public)
		}
	}
	return found
}

// keepFresh fetches the set from time to time until ctx ends.
func (s *keySet) keepFresh(ctx context.Context) {
	for {
		pause := keySetInterval
		if s.ready() != nil {
			pause = keySetPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			s.refresh(ctx, func() bool { return true })
		}
	}
}

// refresh fetches the set if needed says so once it is this caller's turn, and
// returns the error of the last fetch. A fetch that fails leaves the keys that
// there are.
func (s *keySet) refresh(ctx context.Context, needed func() bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !needed() {
		return s.err
	}
	s.last = s.now()
	keys, err := s.fetch(ctx)
	s.err = err
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "key set not fetched", slog.String("url", s.name), slog.String("error", fetchFault(err)))
		return err
	}
	if len(keys) == 0 {
		// Not a failure to get over with the old keys: they may have been
		// withdrawn.
		s.log.LogAttrs(ctx, slog.LevelWarn, "key set without a key for the algorithm",
			slog.String("url", s.name), slog.String("algorithm", s.algorithm))
	}
	old := s.current.Swap(&keys)
	if old != nil && !slices.EqualFunc(*old, keys, setKey.equal) {
		s.changed()
	}
	return nil
}

// fetch gets the set. Keys in it that cannot be understood or do not fit the
// algorithm are passed over, as RFC 7517 §5 would have it, for they may be for
// others.
func (s *keySet) fetch(ctx context.Context) ([]setKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, badAnswer("answered with status " + strconv.Itoa(response.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxKeySet {
		return nil, badAnswer("answered with more than a key set can be")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, badAnswer("answered with what is not a key set")
	}
	var keys []setKey
	for _, raw := range set.Keys {
		if key, ok := s.read(raw); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// read returns a key of a set if it may verify tokens of the algorithm.
func (s *keySet) read(raw json.RawMessage) (setKey, bool) {
	key, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return setKey{}, false
	}
	says := key.Marshal()
	switch {
	case says.ALG != "" && says.ALG.String() != s.algorithm,
		says.USE != "" && says.USE != jwkset.UseSig,
		len(says.KEYOPS) > 0 && !slices.Contains(says.KEYOPS, jwkset.KeyOpsVerify):
		return setKey{}, false
	}
	// Of a key that was published with its private part, only the public one
	// was read.
	if fits(s.algorithm, key.Key()) != nil {
		return setKey{}, false
	}
	return setKey{id: says.KID, public: key.Key()}, true
}

// equal reports whether two keys are the same under the same id.
func (k setKey) equal(other setKey) bool {
	return k.id == other.id && reflect.DeepEqual(k.public, other.public)
}
