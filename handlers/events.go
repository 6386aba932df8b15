package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// GetEvents implements GET /v1/events: the stream. Those who accept JSON and no
// stream get a page of the log, as they did before it had a path of its own.
func (s *Server) GetEvents(ctx context.Context, r api.GetEventsRequestObject) (api.GetEventsResponseObject, error) {
	cursor, err := readCursor(r.Params.LastEventID, r.Params.Cursor, r.Params.PageToken)
	if wantsPage(ctx) {
		if err != nil {
			return nil, err
		}
		return s.eventPage(ctx, cursor, r.Params.Limit)
	}
	if err != nil {
		// Any status but 200 ends an EventSource for good. Whoever holds what is
		// no cursor has missed something, which reset says.
		lost := events.Lost(s.logID)
		cursor = &lost
	}
	if headersOnly(ctx) {
		return streamHeaders{}, nil
	}
	return s.openStream(ctx, cursor, r.Params.Ticket != nil)
}

// GetEventLog implements GET /v1/events/log.
func (s *Server) GetEventLog(ctx context.Context, r api.GetEventLogRequestObject) (api.GetEventLogResponseObject, error) {
	cursor, err := readCursor(nil, r.Params.Cursor, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	return s.eventPage(ctx, cursor, r.Params.Limit)
}

// acceptKey is where negotiated puts the Accept header, which OpenAPI does not
// let an operation declare as a parameter.
type acceptKey struct{}

// negotiated gives GetEvents what the client accepts.
func negotiated(next api.StrictHandlerFunc, operation string) api.StrictHandlerFunc {
	if operation != "GetEvents" {
		return next
	}
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		return next(context.WithValue(ctx, acceptKey{}, r.Header["Accept"]), w, r, request)
	}
}

// wantsPage reports whether a client accepts JSON and no stream. Without an
// Accept header it gets the stream.
func wantsPage(ctx context.Context) bool {
	accept, _ := ctx.Value(acceptKey{}).([]string)
	return hasMediaType(accept, "application/json") && !hasMediaType(accept, "text/event-stream")
}

// readCursor finds where a client left off. Last-Event-ID is the fresher one:
// an EventSource reconnects to the URL with which it began.
func readCursor(lastEventID, cursor, pageToken *string) (*events.Cursor, error) {
	for _, given := range []struct {
		name string
		text *string
	}{
		{"Last-Event-ID", lastEventID},
		{"cursor", cursor},
		{"page_token", pageToken},
	} {
		// A client that has no event yet may send the header empty.
		if given.text == nil || *given.text == "" && given.name == "Last-Event-ID" {
			continue
		}
		c, err := events.ParseCursor(*given.text)
		if err != nil {
			return nil, im.RefuseField(im.Invalid, "invalid_cursor", given.name, "is not a cursor of this API")
		}
		return &c, nil
	}
	return nil, nil
}

// openStream registers the stream; it is served when the response is written.
func (s *Server) openStream(ctx context.Context, cursor *events.Cursor, byTicket bool) (api.GetEventsResponseObject, error) {
	p := principal(ctx)
	sub, err := s.hub.Subscribe(events.Subscriber{
		Actor: p.Actor, Cursor: cursor, IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt,
	})
	switch {
	// An EventSource, which comes with a ticket, gives up at any status but
	// 200; others are told that they have too many.
	case errors.Is(err, events.ErrOverloaded), errors.Is(err, events.ErrClosed),
		errors.Is(err, events.ErrTooManyStreams) && byTicket:
		return retryLater{s.hub.RetryLater()}, nil
	case err != nil:
		return nil, err
	}
	return stream{ctx: ctx, subscription: sub, server: s}, nil
}

// stream is a response that lasts until the stream ends.
type stream struct {
	ctx          context.Context
	subscription *events.Subscription
	server       *Server
}

// VisitGetEventsResponse writes the headers at once and then what happens. An
// error after them can be told to nobody but the log.
func (st stream) VisitGetEventsResponse(w http.ResponseWriter) error {
	beginStream(w)
	// The server's read timeout is for requests; this one lasts. A writer
	// that cannot do so does not enforce one either.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	err := st.subscription.Serve(st.ctx, events.NewResponseSink(w, st.server.writeTimeout))
	if err != nil && st.ctx.Err() == nil {
		st.server.log.DebugContext(st.ctx, "stream ended", "error", faults.Text(err))
	}
	return nil
}

// streamHeaders is what a stream begins with, for who asks for that alone.
type streamHeaders struct{}

// VisitGetEventsResponse writes the headers.
func (streamHeaders) VisitGetEventsResponse(w http.ResponseWriter) error {
	beginStream(w)
	return nil
}

// retryLater is the answer of an overloaded server: an EventSource would give
// up at any other status.
type retryLater struct{ block []byte }

// VisitGetEventsResponse writes when to come again, and ends.
func (rl retryLater) VisitGetEventsResponse(w http.ResponseWriter) error {
	beginStream(w)
	_, err := w.Write(rl.block)
	return err
}

func beginStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies of nginx's kind would hold events back
	w.WriteHeader(http.StatusOK)
}

// The bounds of a page of the log besides its limit: how many events are read
// at a time at least, for most of them may be left out, how often, and how
// many bytes of JSON are enough.
const (
	leastWindow = 64
	maxWindows  = 32
	enoughBytes = 1 << 20
)

// eventPage answers a page of the log. Without a cursor it begins at the log's
// start. It ends early, and says where to go on, if the limit would make it
// long work or a long answer.
func (s *Server) eventPage(ctx context.Context, cursor *events.Cursor, most *api.LimitEvents) (eventPageResponse, error) {
	var out eventPageResponse
	bounds, err := s.service.LogBounds(ctx)
	if err != nil {
		return out, err
	}
	limit := int(value(most, 100))
	p := page{server: s, limit: limit, after: bounds.Cut, items: []json.RawMessage{}}
	if cursor != nil {
		var reset bool
		if p.after, reset = events.Resolve(*cursor, bounds, s.logID); reset {
			if err := p.reset(p.after); err != nil {
				return out, err
			}
		}
	}
	for range maxWindows {
		if p.full() || p.after >= bounds.Head {
			break
		}
		window, err := s.service.Events(ctx, actor(ctx), p.after, bounds.Head, max(limit-len(p.items), leastWindow))
		if err != nil {
			return out, err
		}
		if window.Cut > p.after {
			// The log was cut under us: what was missed cannot be told.
			if err := p.reset(bounds.Head); err != nil {
				return out, err
			}
			break
		}
		if err := p.add(window); err != nil {
			return out, err
		}
	}
	out = eventPageResponse{Items: p.items, Cursor: s.cursor(p.after)}
	if p.after < bounds.Head {
		out.NextPageToken = &out.Cursor
	}
	return out, nil
}

// cursor returns a position of the log as clients know it.
func (s *Server) cursor(at im.Position) string {
	return events.Cursor{Log: s.logID, Position: at}.String()
}

// page is a page of the log in the making.
type page struct {
	server *Server
	limit  int
	after  im.Position // what was looked through
	items  []json.RawMessage
	bytes  int
}

func (p *page) full() bool { return len(p.items) >= p.limit || p.bytes >= enoughBytes }

func (p *page) put(e im.Event, at im.Position) error {
	b, err := EncodeEvent(e, p.server.cursor(at))
	p.items, p.bytes = append(p.items, b), p.bytes+len(b)
	return err
}

func (p *page) reset(at im.Position) error {
	p.after = at
	return p.put(im.Event{Type: events.Reset, At: time.Now()}, at)
}

// add takes of a window what there is room for.
func (p *page) add(w im.EventWindow) error {
	for _, e := range w.Events {
		if p.full() {
			return nil
		}
		if err := p.put(e, e.Position); err != nil {
			return err
		}
		p.after = e.Position
	}
	p.after = w.Through
	return nil
}

// eventPageResponse is api.EventPage with events that were encoded one by one,
// to see how long they are.
type eventPageResponse struct {
	Items         []json.RawMessage `json:"items"`
	NextPageToken *string           `json:"next_page_token"`
	Cursor        string            `json:"cursor"`
}

// VisitGetEventsResponse writes the page.
func (p eventPageResponse) VisitGetEventsResponse(w http.ResponseWriter) error {
	return p.VisitGetEventLogResponse(w)
}

// VisitGetEventLogResponse writes the page.
func (p eventPageResponse) VisitGetEventLogResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	return plain(w).Encode(p)
}

// CreateTicket implements POST /v1/events/tickets.
func (s *Server) CreateTicket(ctx context.Context, _ api.CreateTicketRequestObject) (api.CreateTicketResponseObject, error) {
	ticket, ends := s.verifier.IssueTicket(principal(ctx))
	return api.CreateTicket201JSONResponse{Ticket: ticket, ExpiresAt: api.Time(ends)}, nil
}
