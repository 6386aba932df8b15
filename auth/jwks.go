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
	// keySetInterval is the time between fetches of the key set in the background. A
	// withdrawn key stays accepted until the next fetch that succeeds.
	keySetInterval = 10 * time.Minute
	// keySetPause is the minimum time between a fetch and one that a token with an
	// unknown key causes. Without it, anyone could make the server fetch all the time.
	// While there is no key, it is also the time between fetches in the background.
	keySetPause = 15 * time.Second
	// keySetTimeout bounds a fetch, and with it the request that waits.
	keySetTimeout = 5 * time.Second
	// maxKeySet is the maximum size of a key set, in bytes.
	maxKeySet = 1 << 20
)

// keySet holds the keys of a JSON Web Key Set that fit the algorithm.
type keySet struct {
	url       string
	name      string // the URL without credentials, for the log
	algorithm string
	client    *http.Client
	now       func() time.Time
	log       *slog.Logger
	// changed is called after the keys have changed.
	changed func()

	// current is nil until the first successful fetch. Its length may be 0.
	current atomic.Pointer[[]setKey]

	// mu is held during a fetch, so that concurrent callers share one fetch.
	mu   sync.Mutex
	last time.Time // when the last fetch began
	err  error     // of the last fetch
}

// setKey is one key of a set.
type setKey struct {
	id     string
	public any
}

// newKeySet fetches the set once, and then in the background until ctx ends. It
// returns an error only if the URL is not accepted.
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
					return badAnswer("redirected to an address that is not accepted")
				}
				return nil
			},
		},
	}
	set.fetchNow(ctx)
	go set.keepFresh(ctx)
	return set, nil
}

// plainName returns an address without its user info, query and fragment, which may
// contain credentials.
func plainName(address *url.URL) string {
	return (&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path, RawPath: address.RawPath}).String()
}

// badAnswer is an error about an answer that is not a key set. It quotes nothing from
// the answer.
type badAnswer string

// Error returns the text.
func (b badAnswer) Error() string { return string(b) }

// fetchFault returns the reason why a fetch failed, for the log. Errors of net/http may
// quote the whole address, the target of a redirect or the answer. Only errors that are
// known to quote none of these keep their text.
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
		return "timeout"
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

// safe reports whether the address is https or loopback, so that nobody on the network can forge
// its answers.
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

// keys returns the keys that may have signed a token with the given kid. If the kid is unknown,
// and the last fetch was at least keySetPause ago, it fetches the set first. If the kid is still
// unknown, it returns ErrKeysUnavailable if the last fetch failed, otherwise ErrTokenInvalid.
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
		// The key may be in the set that could not be fetched.
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

// find returns the keys with this id, or all keys if kid is empty.
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

// keepFresh fetches the set every keySetInterval until ctx ends, and every keySetPause
// while there is no key.
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
			s.fetchNow(ctx)
		}
	}
}

// fetchNow fetches the set. A failure has been logged, and its error is kept for refresh
// to return.
func (s *keySet) fetchNow(ctx context.Context) {
	_ = s.refresh(ctx, func() bool { return true })
}

// refresh calls needed with mu held, and fetches the set if that returns true. It returns the error
// of the last fetch. A failed fetch keeps the current keys.
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
		s.log.ErrorContext(ctx, "key set not fetched", "url", s.name, "error", fetchFault(err))
		return err
	}
	if len(keys) == 0 {
		// The empty set still replaces the current keys, which may have been withdrawn.
		s.log.WarnContext(ctx, "key set has no key for the algorithm", "url", s.name, "algorithm", s.algorithm)
	}
	old := s.current.Swap(&keys)
	if old != nil && !slices.EqualFunc(*old, keys, setKey.equal) {
		s.changed()
	}
	return nil
}

// fetch returns the keys of the set that fit the algorithm. It ignores all others, as
// RFC 7517 §5 recommends: they may be for other services.
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
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, badAnswer("answered with status " + strconv.Itoa(response.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxKeySet {
		return nil, badAnswer("answered with a key set that is too large")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, badAnswer("answered with something that is not a key set")
	}
	var keys []setKey
	for _, raw := range set.Keys {
		if key, ok := s.read(raw); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// read decodes a key and reports whether it can verify tokens of the algorithm.
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
	// If the private part was published too, only the public part was decoded.
	if fits(s.algorithm, key.Key()) != nil {
		return setKey{}, false
	}
	return setKey{id: says.KID, public: key.Key()}, true
}

// equal reports whether two keys and their ids are equal.
func (k setKey) equal(other setKey) bool {
	return k.id == other.id && reflect.DeepEqual(k.public, other.public)
}
