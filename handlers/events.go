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
	"github.com/imapi/imapi/sockets"
)

// GetEvents implements GET /v1/events, the stream. A client that accepts JSON and no stream
// gets a page of the log, which is also at /v1/events/log.
func (s *Server) GetEvents(ctx context.Context, r api.GetEventsRequestObject) (api.GetEventsResponseObject, error) {
	cursor, err := readCursor(r.Params.LastEventID, r.Params.Cursor, r.Params.PageToken)
	if wantsPage(ctx) {
		if err != nil {
			return nil, err
		}
		return s.eventPage(ctx, cursor, r.Params.Limit)
	}
	if err != nil {
		// Any status but 200 ends an EventSource for good. A client without a valid
		// cursor may have missed events, so its stream begins with reset.
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

// readCursor reads the cursor of a client. Last-Event-ID takes precedence: an EventSource
// reconnects with the URL of its first request, which has an older cursor.
func readCursor(lastEventID, cursor, pageToken *string) (*events.Cursor, error) {
	for _, given := range []struct {
		name string
		text *string
	}{
		{"Last-Event-ID", lastEventID},
		{"cursor", cursor},
		{"page_token", pageToken},
	} {
		// A client that has received no event may send an empty header.
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

// openStream subscribes to the hub. Writing the response serves the stream.
func (s *Server) openStream(ctx context.Context, cursor *events.Cursor, byTicket bool) (api.GetEventsResponseObject, error) {
	p := principal(ctx)
	sub, err := s.hub.Subscribe(events.Subscriber{
		Actor: p.Actor, Cursor: cursor, IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt,
	})
	switch {
	// An EventSource, which authenticates with a ticket, stops for good at any status but
	// 200. Other clients get 429 for too many streams.
	case errors.Is(err, events.ErrOverloaded), errors.Is(err, events.ErrClosed),
		errors.Is(err, events.ErrTooManyStreams) && byTicket:
		return retryLater{s.hub.RetryLater()}, nil
	case err != nil:
		return nil, err
	}
	return stream{ctx: ctx, subscription: sub, server: s}, nil
}

// stream is the response of a stream. It lasts until the stream ends.
type stream struct {
	ctx          context.Context
	subscription *events.Subscription
	server       *Server
}

// VisitGetEventsResponse writes the headers at once, and then events. It logs an error that
// occurs after the headers.
//
// It takes an HTTP/1.1 connection from the server and returns once the client has what it had
// missed: an idle stream then has neither goroutines nor buffers. Streams of HTTP/2 share a
// connection, which the server keeps.
func (st stream) VisitGetEventsResponse(w http.ResponseWriter) error {
	if can, _ := st.ctx.Value(takeKey{}).(bool); can {
		return st.takeConnection(w)
	}
	beginStream(w)
	// The server's read timeout is for short requests. A writer that cannot set a
	// deadline enforces none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	err := st.subscription.Serve(st.ctx, events.NewResponseSink(w, st.server.writeTimeout))
	if st.ctx.Err() == nil {
		st.server.streamEnded(err)
	}
	return nil
}

func (st stream) takeConnection(w http.ResponseWriter) error {
	w.Header().Set("Connection", "close") // it cannot be used after the stream
	beginStream(w)
	conn, err := sockets.Take(w, st.server.writeTimeout)
	if err != nil {
		st.subscription.Close()
		st.server.streamEnded(err)
		return nil
	}
	st.subscription.ServeConn(conn, st.server.writeTimeout, st.server.streamEnded)
	return nil
}

// streamEnded logs why a stream has ended, unless its client has closed it.
func (s *Server) streamEnded(err error) {
	if err != nil && !errors.Is(err, events.ErrGone) {
		s.log.Debug("stream ended", "error", faults.Text(err))
	}
}

// streamHeaders is the response to HEAD.
type streamHeaders struct{}

// VisitGetEventsResponse writes the headers.
func (streamHeaders) VisitGetEventsResponse(w http.ResponseWriter) error {
	beginStream(w)
	return nil
}

// retryLater is the answer to a stream request that is refused for now. An EventSource would stop
// for good at any status but 200.
type retryLater struct{ block []byte }

// VisitGetEventsResponse writes the time to wait before reconnecting.
func (rl retryLater) VisitGetEventsResponse(w http.ResponseWriter) error {
	beginStream(w)
	_, err := w.Write(rl.block)
	return err
}

func beginStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would buffer events
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
