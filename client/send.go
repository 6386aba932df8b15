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
	// ErrUnreachable means that no connection could be made. The message was not sent.
	ErrUnreachable = errors.New("the server could not be reached")
	// ErrConnectionLost means that a connection was made, but no response said whether the
	// server stored the message. Send the message again with the same client_id to find
	// out.
	ErrConnectionLost = errors.New("the connection was lost before the response")
)

// SendError is returned for a message if no response said whether the server stored it.
type SendError struct {
	// Kind is [ErrUnreachable] or [ErrConnectionLost].
	Kind error
	// ClientID is the client_id of the message. Sent again with it, now or after a
	// restart, the message is created only once.
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
	body, err := json.Marshal(content)
	if err != nil {
		return Message{}, fmt.Errorf("client: encode the message: %w", err)
	}

	begun := time.Now()
	first := c.attempt(ctx, conversation, body)
	if first.decided() {
		return first.message, first.err
	}
	wait := c.sendTimeout - time.Since(begun)
	if first.retryAfter > 0 {
		wait = min(wait, first.retryAfter)
	}
	if err := pause(ctx, wait); err != nil {
		return Message{}, undecided(ctx, clientID, err, first.reached)
	}
	second := c.attempt(ctx, conversation, body)
	if second.decided() || second.answered {
		return second.message, second.err
	}
	return Message{}, undecided(ctx, clientID, second.err, first.reached || second.reached)
}

// undecided returns the error for a message of which no response said whether it was stored.
// It may be stored if any attempt reached the server.
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

// attempt is the result of one attempt to send a message.
type attempt struct {
	message    Message
	err        error
	reached    bool // there was a connection, so the message may have arrived
	answered   bool // there was a response
	later      bool // another attempt may succeed
	retryAfter time.Duration
}

// decided reports whether the attempt is final.
func (a attempt) decided() bool { return !a.later }

// attempt makes one attempt.
func (c *Client) attempt(ctx context.Context, conversation string, body []byte) attempt {
	request, err := NewSendMessageRequestWithBody(c.server, conversation, nil, "application/json", bytes.NewReader(body))
	if err != nil {
		return attempt{err: fmt.Errorf("client: %w", err)}
	}
	inTime, cancel := context.WithTimeout(ctx, c.sendTimeout)
	defer cancel()
	if err := c.identify(inTime, request); err != nil {
		return attempt{err: err}
	}

	var reached atomic.Bool
	request = request.WithContext(httptrace.WithClientTrace(inTime, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	}))
	response, err := c.http.Do(request)
	if err != nil {
		return attempt{err: err, reached: reached.Load(), later: true}
	}
	defer func() { _ = response.Body.Close() }()

	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated:
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		// Not final: the message may be stored or not.
		return attempt{
			err: readProblem(response), reached: true, answered: true,
			later: true, retryAfter: retryAfter(response),
		}
	default:
		return attempt{err: readProblem(response), answered: true}
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return attempt{err: err, reached: true, later: true}
	}
	var message Message
	if err := json.Unmarshal(answer, &message); err != nil {
		return attempt{err: fmt.Errorf("client: decode the response: %w", err)}
	}
	return attempt{message: message}
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
