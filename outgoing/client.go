package outgoing

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/imapi/imapi/awake"
)

// Options configure a [Client].
type Options struct {
	// AllowPrivate allows private addresses, and http:// for them.
	AllowPrivate bool
	// Timeout bounds a whole request, from DNS to the last byte of the answer; 10 s by default. A
	// time in which this process stands still does not count; see package awake.
	Timeout time.Duration
	// MaxAnswer bounds the body of an answer, in bytes; 64 KiB by default. The headers may have
	// 16 KiB.
	MaxAnswer int
	// MaxConnections bounds the connections to one host; 0 sets no limit. A request waits for
	// one within its timeout.
	MaxConnections int
	// Resolver resolves names; the system's if nil.
	Resolver *net.Resolver
	// RootCAs are the trusted certificate authorities; the system's if nil.
	RootCAs *x509.CertPool
}

const (
	defaultTimeout   = 10 * time.Second
	defaultMaxAnswer = 64 << 10
	maxHeader        = 16 << 10
	idleConnections  = 16 // per host
	idleTime         = 30 * time.Second
	userAgent        = "imapi"
)

// Client sends requests. It may be used concurrently.
type Client struct {
	allowPrivate bool
	timeout      time.Duration
	maxAnswer    int
	http         http.Client
	byScheme     map[string]*http.Transport
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{
		allowPrivate: o.AllowPrivate,
		timeout:      cmp.Or(o.Timeout, defaultTimeout), maxAnswer: cmp.Or(o.MaxAnswer, defaultMaxAnswer),
	}
	c.byScheme = map[string]*http.Transport{"http": c.transport(o, true), "https": c.transport(o, false)}
	c.http = http.Client{
		Transport:     c,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// transport returns the transport of a scheme, whose connections are checked when they are
// opened.
func (c *Client) transport(o Options, plain bool) *http.Transport {
	dialer := net.Dialer{
		Resolver: o.Resolver,
		// The addresses of a name share this time. Without it, the first one that does not answer
		// takes all the time of the request, and is waited for after its end.
		Timeout: c.timeout,
		// Control is called with the address of the connection about to be made. A check of the
		// name would come too early, because DNS could then give another answer (rebinding).
		Control: func(_, address string, _ syscall.RawConn) error {
			target, err := netip.ParseAddrPort(address)
			if err == nil {
				err = checkAddress(target.Addr(), plain, c.allowPrivate)
			}
			if err != nil {
				return &Error{Reason: ReasonAddress, text: err.Error()}
			}
			return nil
		},
	}
	return &http.Transport{
		Proxy:                  nil, // a proxy would connect to unchecked addresses
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		DisableCompression:     true, // so that the limit applies to the bytes received, too
		MaxConnsPerHost:        o.MaxConnections,
		MaxIdleConnsPerHost:    idleConnections,
		MaxIdleConns:           8 * idleConnections,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// RoundTrip implements [http.RoundTripper] for the client's own use.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.byScheme[r.URL.Scheme].RoundTrip(r)
}

// Close closes connections that are idle. The client can still be used.
func (c *Client) Close() {
	for _, t := range c.byScheme {
		t.CloseIdleConnections()
	}
}

// Answer is the answer to a request, whatever its status, even that of a redirect.
type Answer struct {
	Status int
	Header http.Header
	// Body has at most MaxAnswer bytes. Cut is set if the answer was longer.
	Body []byte
	Cut  bool
}

// Post sends a body by POST and returns the answer. The header may be nil. All errors are of
// type [*Error].
//
// If the server closes a kept connection at the moment of the request, the request is sent again
// on a new one. So a receiver may get it twice, and needs an id in it to notice.
func (c *Client) Post(ctx context.Context, address string, header http.Header, body []byte) (Answer, error) {
	u, err := parse(address, c.allowPrivate)
	if err != nil {
		return Answer{}, &Error{Reason: ReasonAddress, text: err.Error()}
	}
	limited, cancel := awake.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(limited, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return Answer{}, &Error{Reason: ReasonAddress, text: "is not a URL"}
	}
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header.Set("User-Agent", userAgent)
	// net/http repeats a POST only if it is marked as safe to repeat. An empty value marks it and
	// is not sent.
	r.Header["X-Idempotency-Key"] = []string{}
	response, err := c.http.Do(r)
	if err != nil {
		return Answer{}, fault(limited, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if answer.Status == http.StatusSwitchingProtocols {
		return answer, nil // net/http then leaves the connection to the caller, without a timeout
	}
	answer.Body, err = io.ReadAll(io.LimitReader(response.Body, int64(c.maxAnswer)+1))
	if err != nil {
		return Answer{}, fault(limited, err)
	}
	if len(answer.Body) > c.maxAnswer {
		answer.Body, answer.Cut = answer.Body[:c.maxAnswer], true
	}
	return answer, nil
}

// Reason is the reason why a request has no answer, as a word for logs and metrics.
type Reason string

// The reasons.
const (
	ReasonAddress  Reason = "address_refused" // the address may not be called
	ReasonDNS      Reason = "dns"             // the name was not resolved
	ReasonConnect  Reason = "connect"         // no connection was made
	ReasonTLS      Reason = "tls"             // the certificate or the handshake was wrong
	ReasonTimeout  Reason = "timeout"         // it took too long
	ReasonCanceled Reason = "canceled"        // the caller gave up
	ReasonBroken   Reason = "broken"          // the connection ended, or the answer was not HTTP
)

// Error is the error of a request without an answer. Its text is safe to log: it quotes neither the
// URL nor the answer.
type Error struct {
	Reason Reason
	text   string
}

// Error returns the reason, with its details if it has any.
func (e *Error) Error() string {
	if e.text == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": the URL " + e.text
}

// fault converts an error of net/http to an Error. ctx is the context of the request.
func fault(ctx context.Context, err error) *Error {
	var (
		own    *Error
		lookup *net.DNSError
		dial   *net.OpError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded) || isTimeout(err):
		return &Error{Reason: ReasonTimeout}
	case ctx.Err() != nil:
		return &Error{Reason: ReasonCanceled}
	case errors.As(err, &lookup):
		return &Error{Reason: ReasonDNS}
	case isTLS(err):
		return &Error{Reason: ReasonTLS}
	case errors.As(err, &dial) && dial.Op == "dial":
		return &Error{Reason: ReasonConnect}
	default:
		return &Error{Reason: ReasonBroken}
	}
}

func isTimeout(err error) bool {
	timed, ok := errors.AsType[net.Error](err)
	return ok && timed.Timeout()
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && (alert.Op == "remote error" || alert.Op == "local error") {
		return true
	}
	return errors.Is(err, http.ErrSchemeMismatch)
}
