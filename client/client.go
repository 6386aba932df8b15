// Package client talks to an imapi server as one user on one device.
//
// A [Client] has every operation of the server as a method that is generated
// from the contract, such as ListMessagesWithResponse, and three things that a
// document cannot describe: [Client.Send], which repeats a message that got no
// answer without ever sending it twice, [Client.Events], a stream of events
// that resumes by itself, and refusals as errors of type [*Problem].
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// TokenSource returns the token to ask with. It is asked before every request,
// by several goroutines at once, so it should keep a token until that is about
// to expire. Its errors are passed on.
type TokenSource func(ctx context.Context) (string, error)

// StaticToken is a source with one token for ever.
func StaticToken(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// Options say who asks, and how.
type Options struct {
	// Token is where tokens come from; nil asks without one.
	Token TokenSource
	// Device names this installation; "" leaves it to the token. Who acts on a
	// device is not told of it there, so no two clients that run at the same time
	// may share one: each would stay without what the other sends, reads or hides.
	Device string
	// HTTPClient sends the requests; a new one if nil. Its Timeout does not
	// concern streams.
	HTTPClient *http.Client
	// SendTimeout is how long [Client.Send] waits for each answer; 10 s if
	// zero.
	SendTimeout time.Duration
}

const defaultSendTimeout = 10 * time.Second

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	// The generated operations. Their errors are of type [*Problem] where the
	// server refused, so with a nil error the answer is the good one.
	*ClientWithResponses

	server      string // ends with a slash
	token       TokenSource
	device      string
	http        *http.Client
	stream      *http.Client // the same without a timeout
	sendTimeout time.Duration
}

// New makes a client of the server at an http or https URL.
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

// identify puts the token and the device into a request.
func (c *Client) identify(ctx context.Context, r *http.Request) error {
	token, err := c.token(ctx)
	if err != nil {
		return fmt.Errorf("client: no token: %w", err)
	}
	c.identifyWith(r, token)
	return nil
}

// identifyWith does it with a token that is at hand.
func (c *Client) identifyWith(r *http.Request, token string) {
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if c.device != "" && r.Header.Get("X-Device-Id") == "" {
		r.Header.Set("X-Device-Id", c.device)
	}
	if r.Header.Get("Accept") == "" {
		// Else GET /v1/events would answer with a stream, which the generated
		// operation would read to its end.
		r.Header.Set("Accept", "application/json")
	}
}

// refusing sends requests and turns answers that refuse into errors.
type refusing struct{ client *http.Client }

// Do implements [HttpRequestDoer].
func (d refusing) Do(r *http.Request) (*http.Response, error) {
	response, err := d.client.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusBadRequest {
		defer response.Body.Close()
		return nil, readProblem(response)
	}
	return response, nil
}
