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
	// ErrUnreachable says that no connection could be made: the message was
	// not sent.
	ErrUnreachable = errors.New("the server could not be reached")
	// ErrConnectionLost says that the message went out and no answer came:
	// whether it was stored is unknown until it is sent again with the same
	// client_id.
	ErrConnectionLost = errors.New("the connection was lost before the answer")
)

// SendError says that a message got no answer.
type SendError struct {
	// Kind is [ErrUnreachable] or [ErrConnectionLost].
	Kind error
	// ClientID is what the message was sent under. Sent again under it, now or
	// after a restart, the message will be there once.
	ClientID string
	// Cause is what happened last.
	Cause error
}

// Error returns the kind and the cause.
func (e *SendError) Error() string { return e.Kind.Error() + ": " + e.Cause.Error() }

// Unwrap returns the kind and the cause.
func (e *SendError) Unwrap() []error { return []error{e.Kind, e.Cause} }

// Send sends a message to a conversation, named by its id or as "@user". It
// gives the message a client_id unless it has one, waits up to 10 s (see
// [Options]) for the answer, and then tries once more under the same
// client_id, so that the message is there once however often it arrived. The
// second attempt begins when the wait of the first is over, also if that
// failed at once, for a server that restarts needs a moment; or earlier if the
// server itself says when.
//
// The error is a [*Problem] if the server refused, a [*SendError] if there was
// no answer, and that of ctx if it ended before anything was sent.
func (c *Client) Send(ctx context.Context, conversation string, message Draft) (Message, error) {
	content, clientID := message.prepare(rand.Text())
	body, err := json.Marshal(content)
	if err != nil {
		return Message{}, fmt.Errorf("client: the message is not JSON: %w", err)
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

// undecided is the error for a message that got no answer. Only whether the
// server was reached, at whichever attempt, tells if it may be stored.
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

// attempt is one try to send a message, and what came of it.
type attempt struct {
	message Message
	err     error
	// reached says that there was a connection: the message may have arrived.
	reached bool
	// answered says that something answered, if only to try again later.
	answered bool
	// later says that the answer, or the lack of it, is worth another try.
	later      bool
	retryAfter time.Duration
}

// decided reports whether the attempt has settled the matter.
func (a attempt) decided() bool { return !a.later }

// attempt tries once.
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
	defer response.Body.Close()

	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated:
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		// Not the last word: the message may be stored or not.
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
		return attempt{err: fmt.Errorf("client: the answer is not a message: %w", err)}
	}
	return attempt{message: message}
}

// pause waits, unless ctx ends first.
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
