package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

var (
	// ErrUnreachable means that no connection could be made. Nothing was sent.
	ErrUnreachable = errors.New("the server could not be reached")
	// ErrConnectionLost means that a connection was made, but no response said whether the
	// server stored the message, or created the conversation. Try again with the same client_id to
	// find out.
	ErrConnectionLost = errors.New("the connection was lost before the response")
)

// SendError is returned for a message, or a conversation to be created, if no response said whether
// the server stored it.
type SendError struct {
	// Kind is [ErrUnreachable] or [ErrConnectionLost].
	Kind error
	// ClientID is the client_id of the request. Sent again with it, now or after a restart, the
	// message or conversation is created only once.
	ClientID string
	// Cause is the error of the last attempt, or that of the context if it ended during the
	// wait for the second.
	Cause error
}

// Error returns the kind and the cause.
func (e *SendError) Error() string { return e.Kind.Error() + ": " + e.Cause.Error() }

// Unwrap returns the kind and the cause.
func (e *SendError) Unwrap() []error { return []error{e.Kind, e.Cause} }

// Send sends a message to a conversation, given by its id or as "@user". A message
// without a client_id gets one.
//
// If no response arrives within Options.SendTimeout, or one with the status 502, 503 or 504,
// Send tries once more with the same client_id, so the message is created only once. If the
// first attempt fails early, Send waits for the rest of that time before the second one,
// because a restarting server needs a moment. A Retry-After of the server shortens the wait.
//
// The error is a [*Problem] if the server refused the message, a [*SendError] if the last
// attempt got no response, the error of ctx if ctx ended before anything was sent, and that of
// the token source if it has no token. After a [*Problem] with the status 502, 503 or 504 it is
// unknown whether the message was stored; if you set its client_id, you can send it again.
func (c *Client) Send(ctx context.Context, conversation string, message Draft) (Message, error) {
	content, clientID := message.prepare(rand.Text())
	return idempotent[Message]{c, clientID, func(body io.Reader) (*http.Request, error) {
		return NewSendMessageRequestWithBody(c.server, conversation, nil, "application/json", body)
	}}.do(ctx, content)
}

// idempotent is a request with a client_id. Its response is a T.
type idempotent[T any] struct {
	client   *Client
	clientID string
	request  func(body io.Reader) (*http.Request, error)
}

// do makes the request, once more if no response says what became of it.
func (i idempotent[T]) do(ctx context.Context, content any) (T, error) {
	var none T
	body, err := json.Marshal(content)
	if err != nil {
		return none, fmt.Errorf("client: encode the request: %w", err)
	}

	begun := time.Now()
	first := i.attempt(ctx, body)
	if first.decided() {
		return first.result, first.err
	}
	wait := i.client.sendTimeout - time.Since(begun)
	if first.retryAfter > 0 {
		wait = min(wait, first.retryAfter)
	}
	if err := pause(ctx, wait); err != nil {
		return none, undecided(ctx, i.clientID, err, first.reached)
	}
	second := i.attempt(ctx, body)
	if second.decided() || second.answered {
		return second.result, second.err
	}
	return none, undecided(ctx, i.clientID, second.err, first.reached || second.reached)
}

// undecided returns the error for a request of which no response said whether it was done. It may
// be done if any attempt reached the server.
func undecided(ctx context.Context, clientID string, cause error, reached bool) error {
	switch {
	case reached:
		return &SendError{ErrConnectionLost, clientID, cause}
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return &SendError{ErrUnreachable, clientID, cause}
	}
}

// attempt is the result of one attempt.
type attempt[T any] struct {
	result     T
	err        error
	reached    bool // there was a connection, so the request may have arrived
	answered   bool // there was a response
	later      bool // another attempt may succeed
	retryAfter time.Duration
}

// decided reports whether the attempt is final.
func (a attempt[T]) decided() bool { return !a.later }

// attempt makes one attempt.
func (i idempotent[T]) attempt(ctx context.Context, body []byte) attempt[T] {
	c := i.client
	request, err := i.request(bytes.NewReader(body))
	if err != nil {
		return attempt[T]{err: fmt.Errorf("client: %w", err)}
	}
	inTime, cancel := context.WithTimeout(ctx, c.sendTimeout)
	defer cancel()
	if err := c.identify(inTime, request); err != nil {
		return attempt[T]{err: err}
	}

	var reached atomic.Bool
	request = request.WithContext(httptrace.WithClientTrace(inTime, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	}))
	response, err := c.http.Do(request)
	if err != nil {
		return attempt[T]{err: err, reached: reached.Load(), later: true}
	}
	defer func() { _ = response.Body.Close() }()

	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated:
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		// Not final: the request may be done or not.
		return attempt[T]{
			err: readProblem(response), reached: true, answered: true,
			later: true, retryAfter: retryAfter(response),
		}
	default:
		return attempt[T]{err: readProblem(response), answered: true}
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return attempt[T]{err: err, reached: true, later: true}
	}
	var result T
	if err := json.Unmarshal(answer, &result); err != nil {
		return attempt[T]{err: fmt.Errorf("client: decode the response: %w", err)}
	}
	return attempt[T]{result: result}
}

// pause waits for d, or returns the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
