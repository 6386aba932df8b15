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
		lost := s.hub.Lost()
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

// eventPage answers with a page of the log.
func (s *Server) eventPage(ctx context.Context, cursor *events.Cursor, limit *api.LimitEvents) (answer, error) {
	page, err := s.hub.Page(ctx, actor(ctx), cursor, int(value(limit, 100)))
	if err != nil {
		return answer{}, err
	}
	text := page.Cursor.String()
	var next *string
	if page.More {
		next = &text
	}
	appendItem := func(buf []byte, item json.RawMessage) []byte { return append(buf, item...) }
	return answerPage(page.Items, appendItem, next, func(o *jsonObject) { o.text("cursor", text) }), nil
}

// CreateTicket implements POST /v1/events/tickets.
func (s *Server) CreateTicket(ctx context.Context, _ api.CreateTicketRequestObject) (api.CreateTicketResponseObject, error) {
	ticket, ends := s.verifier.IssueTicket(principal(ctx))
	return api.CreateTicket201JSONResponse{Ticket: ticket, ExpiresAt: api.Time(ends)}, nil
}
