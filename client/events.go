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

// EventsOptions configure an event stream. The callbacks run in the goroutine that
// iterates.
type EventsOptions struct {
	// Cursor is the position to resume after: the last value that OnCursor got, or
	// the ID of the last event that had one. With "" the stream begins with the next event.
	Cursor string
	// OnCursor is called with the new position of the stream, after the loop has
	// handled the event at that position. The position also moves while there are no
	// events. Store it to resume after a restart.
	OnCursor func(cursor string)
	// OnJSON is called with each event as the server sent it, before the loop gets it. The
	// bytes are valid until it returns. [Client.Frames] does not call it.
	OnJSON func(event []byte)
	// OnDisconnect is called after a connection ended or could not be made, with the
	// reason and the wait before the next attempt. If there will be no other attempt, it is
	// not called.
	OnDisconnect func(err error, wait time.Duration)
	// MinBackoff is the first wait before reconnecting; a second if zero. A retry value
	// of the server replaces it. The wait doubles after each failure, up to MaxBackoff;
	// 30 s if that is zero.
	MinBackoff, MaxBackoff time.Duration
	// IdleTimeout closes a connection on which nothing arrives; 45 s if zero. The
	// server sends something every 15 s.
	IdleTimeout time.Duration
}

// Events follows the event stream of the user. It reconnects by itself, resumes at its
// cursor, and yields each event once and in order. That includes ready, at the start of
// each connection, and reset, which means that the server no longer has the events after
// the cursor.
//
// The iteration ends with an error unless the loop ends first: that of ctx, that of the
// token source, a [*Problem], or one that says that the answer is not a stream of imapi.
// It reconnects after a lost connection and after a status that may pass, such as 429 or
// 503. A 401 or 403 ends the iteration only if the token source then returns an error or the
// refused token again.
func (c *Client) Events(ctx context.Context, o EventsOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := newStream(c, "v1/events", o)
		e := &eventStream{stream: s, yield: yield, seen: newSeen()}
		if o.Cursor != "" {
			e.seen.add(o.Cursor)
		}
		s.handle = e.take
		if err := s.follow(ctx); err != nil {
			yield(Event{}, err)
		}
	}
}

// follow connects again and again until the loop ends, for which it returns nil, or there
// is an error that ends the iteration.
func (s *stream) follow(ctx context.Context) error {
	for {
		end := s.connect(ctx)
		switch {
		case end.stopped:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case end.final:
			return end.err
		}
		var wait time.Duration
		if !end.atOnce {
			wait = max(s.backoff.next(), end.retryAfter)
		}
		if s.options.OnDisconnect != nil {
			s.options.OnDisconnect(end.err, wait)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// errEnded is the reason if the server closed the connection.
var errEnded = errors.New("client: the server ended the stream")

// eventStream is a stream of events.
type eventStream struct {
	*stream
	yield func(Event, error) bool
	seen  *seen
}

// stream is the state that outlives a connection.
type stream struct {
	client  *Client
	path    string
	options EventsOptions
	// handle processes a block. It returns false, and the reason, to end the connection.
	handle  func(block) (ending, bool)
	cursor  string
	backoff backoff
	// token is the next token to try, fetched after the previous one was refused.
	token string
	// refused counts tokens refused in a row.
	refused int
}

func newStream(c *Client, path string, o EventsOptions) *stream {
	if o.MinBackoff <= 0 {
		o.MinBackoff = defaultMinBackoff
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = defaultMaxBackoff
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = defaultIdleTimeout
	}
	return &stream{
		client: c, path: path, options: o, cursor: o.Cursor,
		backoff: backoff{base: o.MinBackoff, most: o.MaxBackoff},
	}
}

// ending describes the end of a connection.
type ending struct {
	err        error
	stopped    bool          // the loop ended
	final      bool          // reconnecting would not help
	atOnce     bool          // reconnect without a wait
	retryAfter time.Duration // the minimum wait that the server asked for
}

// connect opens a connection and reads it until it ends.
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
		cancel(fmt.Errorf("client: nothing received for %v", s.options.IdleTimeout))
	})
	defer idle.Stop()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.client.server+s.path, nil)
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
	defer func() { _ = response.Body.Close() }()
	if end, ok := s.accept(ctx, response, token); !ok {
		return end
	}
	s.refused = 0
	return s.read(ctx, &idleBody{response.Body, idle, s.options.IdleTimeout})
}

// because returns the cause of a cancelled context instead of err.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// accept checks the status and the headers of a response.
func (s *stream) accept(ctx context.Context, response *http.Response, token string) (ending, bool) {
	status := response.StatusCode
	switch {
	case status == http.StatusOK:
		kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
		if err != nil || kind != "text/event-stream" {
			return ending{err: errors.New("client: the response is not an event stream"), final: true}, false
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

// refuse handles a refused token. It tries another token of the source, the first time
// without a wait.
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

// read passes the blocks of a connection to handle until the connection ends.
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
		// An overloaded server sends nothing but a retry value, so a block means that
		// the stream works.
		s.backoff.reset()
		if end, ok := s.handle(b); !ok {
			return end
		}
	}
}

// take yields the event of a block unless it was yielded before, and moves the cursor.
func (s *eventStream) take(b block) (ending, bool) {
	if b.hasData {
		var event Event
		if err := json.Unmarshal(b.data, &event); err != nil {
			return ending{err: fmt.Errorf("client: decode an event: %w", err), final: true}, false
		}
		if s.fresh(event, b) {
			if s.options.OnJSON != nil {
				s.options.OnJSON(b.data)
			}
			if !s.yield(event, nil) {
				return ending{stopped: true}, false
			}
		}
	}
	s.move(b)
	return ending{}, true
}

// move moves the cursor to the id of a block.
func (s *stream) move(b block) {
	if !b.hasID || b.id == s.cursor {
		return
	}
	s.cursor = b.id
	if s.options.OnCursor != nil {
		s.options.OnCursor(b.id)
	}
}

// fresh reports whether an event was not yielded yet. Events of the stream itself, ready
// and reset, have the id of the event before them. Events that are not in the log, such as
// commands, have no ID and are never replayed. After a heartbeat their block has the
// id of the heartbeat, which may have been seen.
func (s *eventStream) fresh(event Event, b block) bool {
	switch {
	case event.Type == EventTypeReset:
		s.seen = newSeen()
		return true
	case event.Type == EventTypeReady || event.ID == "":
		return true
	default:
		return s.seen.add(b.id)
	}
}

// idleBody is a body whose idle timer runs only during a read. A loop that takes long
// over an event must not lose the connection.
type idleBody struct {
	body io.Reader
	idle *time.Timer
	most time.Duration
}

// Read implements [io.Reader].
func (b *idleBody) Read(p []byte) (int, error) {
	b.idle.Reset(b.most)
	n, err := b.body.Read(p)
	b.idle.Stop()
	return n, err
}
