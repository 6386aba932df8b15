package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"slices"
	"time"
)

const defaultIdleTimeout = 45 * time.Second

// EventsOptions say where a stream begins and how it resumes.
type EventsOptions struct {
	// Cursor is the ID of the last event that was seen; "" begins now.
	Cursor string
	// OnCursor is told where the stream stands, after the event of that place
	// was dealt with, and also when nothing happens: whoever keeps it can
	// begin there after a restart. It is called by the goroutine that
	// iterates.
	OnCursor func(cursor string)
	// OnDisconnect is told why a connection ended and how long it is until
	// the next; also for a connection that was not made. It is called by the
	// goroutine that iterates.
	OnDisconnect func(err error, wait time.Duration)
	// MinBackoff is the first wait before connecting again, until the server
	// gives its own; a second if zero. It doubles up to MaxBackoff, 30 s if
	// zero, while connections get nowhere.
	MinBackoff, MaxBackoff time.Duration
	// IdleTimeout ends a connection on which nothing comes, for the server
	// sends something every 15 s; 45 s if zero.
	IdleTimeout time.Duration
}

// Events follows what happens. It connects again by itself, by the cursor, and
// yields each event once and in order. The events ready, at the start of each
// connection, and reset, when something was missed for good, are among them.
//
// The iteration ends with an error, unless the loop over it ends first: that
// of ctx, that of the token source, or a [*Problem]. The server's 401 and 403
// end it only if the token source has no other token to try with.
func (c *Client) Events(ctx context.Context, o EventsOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := newStream(c, o, yield)
		for {
			end := s.connect(ctx)
			switch {
			case end.stopped:
				return
			case ctx.Err() != nil:
				yield(Event{}, ctx.Err())
				return
			case end.final:
				yield(Event{}, end.err)
				return
			}
			var wait time.Duration
			if !end.atOnce {
				wait = max(s.backoff.next(), end.retryAfter)
			}
			if o.OnDisconnect != nil {
				o.OnDisconnect(end.err, wait)
			}
			if err := pause(ctx, wait); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// errEnded is the end of a connection that the server closed.
var errEnded = errors.New("client: the server ended the stream")

// stream is what lasts from one connection to the next.
type stream struct {
	client  *Client
	options EventsOptions
	yield   func(Event, error) bool
	cursor  string
	seen    *seen
	backoff backoff
	// token is one to try next, fetched after the last one was refused.
	token string
	// refused counts the refusals of tokens in a row.
	refused int
}

func newStream(c *Client, o EventsOptions, yield func(Event, error) bool) *stream {
	if o.MinBackoff <= 0 {
		o.MinBackoff = defaultMinBackoff
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = defaultMaxBackoff
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = defaultIdleTimeout
	}
	s := &stream{
		client: c, options: o, yield: yield, cursor: o.Cursor, seen: newSeen(),
		backoff: backoff{base: o.MinBackoff, most: o.MaxBackoff},
	}
	if o.Cursor != "" {
		s.seen.add(o.Cursor)
	}
	return s
}

// ending is how a connection ended.
type ending struct {
	err error
	// stopped says that whoever iterates wants no more.
	stopped bool
	// final says that there is no use in connecting again.
	final bool
	// atOnce says that nothing needs waiting for.
	atOnce bool
	// retryAfter is how long the server asks to wait at least.
	retryAfter time.Duration
}

// connect opens a connection and reads it to its end.
func (s *stream) connect(ctx context.Context) ending {
	token := s.token
	s.token = ""
	if token == "" {
		var err error
		if token, err = s.client.token(ctx); err != nil {
			return ending{err: fmt.Errorf("client: no token: %w", err), final: true}
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(s.options.IdleTimeout, func() {
		cancel(fmt.Errorf("client: nothing came for %v", s.options.IdleTimeout))
	})
	defer idle.Stop()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.client.server+"v1/events", nil)
	if err != nil {
		return ending{err: fmt.Errorf("client: %w", err), final: true}
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Cache-Control", "no-store")
	if s.cursor != "" {
		request.Header.Set("Last-Event-ID", s.cursor)
	}
	s.client.identifyWith(request, token)
	response, err := s.client.stream.Do(request)
	if err != nil {
		return ending{err: because(ctx, err)}
	}
	defer response.Body.Close()
	if end, ok := s.accept(ctx, response, token); !ok {
		return end
	}
	s.refused = 0
	return s.read(ctx, &watched{response.Body, idle, s.options.IdleTimeout})
}

// because prefers the reason for which a context was cancelled.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// accept looks at the head of an answer.
func (s *stream) accept(ctx context.Context, response *http.Response, token string) (ending, bool) {
	status := response.StatusCode
	switch {
	case status == http.StatusOK:
		kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
		if err != nil || kind != "text/event-stream" {
			return ending{err: errors.New("client: the answer is not an event stream"), final: true}, false
		}
		return ending{}, true
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return s.refuse(ctx, readProblem(response), token), false
	case slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, status),
		status >= http.StatusInternalServerError:
		return ending{err: readProblem(response), retryAfter: retryAfter(response)}, false
	default:
		return ending{err: readProblem(response), final: true}, false
	}
}

// refuse decides what follows the refusal of a token: another one is tried, at
// once the first time.
func (s *stream) refuse(ctx context.Context, problem *Problem, token string) ending {
	fresh, err := s.client.token(ctx)
	switch {
	case err != nil:
		return ending{err: errors.Join(problem, fmt.Errorf("client: no token: %w", err)), final: true}
	case fresh == token:
		return ending{err: problem, final: true}
	}
	s.token = fresh
	s.refused++
	return ending{err: problem, atOnce: s.refused == 1}
}

// read yields what comes on a connection until it ends.
func (s *stream) read(ctx context.Context, body io.Reader) ending {
	in := newParser(body)
	for {
		b, err := in.next()
		if in.hasRetry {
			s.backoff.base = in.retry
		}
		switch {
		case errors.Is(err, errBlockTooLarge):
			return ending{err: err, final: true}
		case errors.Is(err, io.EOF):
			return ending{err: errEnded}
		case err != nil:
			return ending{err: because(ctx, err)}
		}
		// A server that is overloaded answers with a retry alone. All else
		// shows that the stream works.
		s.backoff.reset()
		if end, ok := s.take(b); !ok {
			return end
		}
	}
}

// take yields the event of a block, if it has one that was not yielded yet,
// and moves the cursor.
func (s *stream) take(b block) (ending, bool) {
	if b.hasData {
		var event Event
		if err := json.Unmarshal(b.data, &event); err != nil {
			return ending{err: fmt.Errorf("client: the stream has an event that is not JSON: %w", err), final: true}, false
		}
		if s.fresh(event.Type, b) && !s.yield(event, nil) {
			return ending{stopped: true}, false
		}
	}
	if b.hasID && b.id != s.cursor {
		s.cursor = b.id
		if s.options.OnCursor != nil {
			s.options.OnCursor(b.id)
		}
	}
	return ending{}, true
}

// fresh reports whether an event was not yielded yet. Those of the stream
// itself stand where the event before them stands, under the same id; those
// without an id are told once or never.
func (s *stream) fresh(kind EventType, b block) bool {
	switch {
	case kind == EventTypeReset:
		s.seen = newSeen()
		return true
	case kind == EventTypeReady || !b.hasID:
		return true
	default:
		return s.seen.add(b.id)
	}
}

// watched reads a body and lets the timer run only meanwhile: whoever takes
// long over an event does not lose the connection for it.
type watched struct {
	body io.Reader
	idle *time.Timer
	most time.Duration
}

// Read implements [io.Reader].
func (w *watched) Read(p []byte) (int, error) {
	w.idle.Reset(w.most)
	n, err := w.body.Read(p)
	w.idle.Stop()
	return n, err
}
