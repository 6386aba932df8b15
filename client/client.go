package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// TokenSource returns the token for a request. It is called before every request, from
// many goroutines, so it should cache a token until the token is about to expire. The client
// wraps its errors.
type TokenSource func(ctx context.Context) (string, error)

// StaticToken returns a [TokenSource] that always returns the same token.
func StaticToken(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// Options configure a [Client].
type Options struct {
	// Token returns the tokens; nil sends none.
	Token TokenSource
	// Device identifies this installation; "" leaves it to the token. A device does
	// not receive the events of what it did itself, so clients that run at the same
	// time must not share one: each would miss what the other sends, reads or hides.
	Device string
	// HTTPClient sends the requests; a new one if nil. Its Timeout applies to uploads, but
	// not to streams, pushes and downloads.
	HTTPClient *http.Client
	// SendTimeout is the time that [Client.Send] and the methods that create conversations wait for
	// each response; 10 s if not positive.
	SendTimeout time.Duration
}

const defaultSendTimeout = 10 * time.Second

// Client is a client of one server. It is safe for concurrent use.
type Client struct {
	// The generated operations. A refusal by the server is an error of type
	// [*Problem], so if the error is nil, the operation succeeded.
	*ClientWithResponses

	server      string // ends with a slash
	token       TokenSource
	device      string
	http        *http.Client
	stream      *http.Client // the same without a timeout
	sendTimeout time.Duration
}

// New returns a client of the server at an http or https URL.
func New(server string, o Options) (*Client, error) {
	address, err := url.Parse(server)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, errors.New("client: the server is not an http or https URL")
	}
	c := &Client{token: o.Token, device: o.Device, http: o.HTTPClient, sendTimeout: o.SendTimeout}
	if c.token == nil {
		c.token = StaticToken("")
	}
	if c.http == nil {
		c.http = &http.Client{}
	}
	if c.sendTimeout <= 0 {
		c.sendTimeout = defaultSendTimeout
	}
	stream := *c.http
	stream.Timeout = 0
	c.stream = &stream

	api, err := NewClient(server, WithHTTPClient(refusing{c.http}), WithRequestEditorFn(c.identify))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c.server = api.Server
	c.ClientWithResponses = &ClientWithResponses{api}
	return c, nil
}

// identify sets the token of a request, and its device and Accept header if it has none.
func (c *Client) identify(ctx context.Context, r *http.Request) error {
	token, err := c.token(ctx)
	if err != nil {
		return fmt.Errorf("client: no token: %w", err)
	}
	c.identifyWith(r, token)
	return nil
}

// identifyWith is identify with a given token.
func (c *Client) identifyWith(r *http.Request, token string) {
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if c.device != "" && r.Header.Get("X-Device-Id") == "" {
		r.Header.Set("X-Device-Id", c.device)
	}
	if r.Header.Get("Accept") == "" {
		// Otherwise GET /v1/events would return a stream, and the generated operation
		// would read it until it ends.
		r.Header.Set("Accept", "application/json")
	}
}

// refusing sends requests and returns a response with a status of 400 or more as an
// error.
type refusing struct{ client *http.Client }

// Do implements [HttpRequestDoer].
func (d refusing) Do(r *http.Request) (*http.Response, error) {
	response, err := d.client.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusBadRequest {
		defer func() { _ = response.Body.Close() }()
		return nil, readProblem(response)
	}
	return response, nil
}
