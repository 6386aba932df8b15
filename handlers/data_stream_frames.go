package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

// firstFrameHeader is the header with the id of the first frame of the binary form, and
// endedTrailer the trailer with the reason why the answer ended.
const (
	firstFrameHeader = "Stream-First-Frame"
	endedTrailer     = "Stream-Ended"
)

// streamClient returns the caller of a request.
func streamClient(ctx context.Context) datastreams.Client {
	p := principal(ctx)
	return datastreams.Client{Actor: p.Actor, IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt}
}

// ReadDataStream implements GET /v1/streams/{stream}/events.
func (s *Server) ReadDataStream(ctx context.Context, r api.ReadDataStreamRequestObject) (api.ReadDataStreamResponseObject, error) {
	hub, id, err := s.dataStream(r.Stream)
	if err != nil {
		return nil, err
	}
	from, err := readFrom(r.Params)
	if err != nil {
		return nil, err
	}
	reader, err := hub.Read(ctx, streamClient(ctx), id, from, wantsBinary(ctx))
	if err != nil {
		return nil, err
	}
	// From here on a cut-off ends the reader. An earlier cut-off may have come after the token was
	// verified.
	if err := s.verifier.Recheck(principal(ctx)); err != nil {
		reader.Close()
		return nil, err
	}
	return reading{ctx: ctx, server: s, reader: reader, binary: wantsBinary(ctx)}, nil
}

// readFrom reads the parameter that says where a reader begins.
func readFrom(p api.ReadDataStreamParams) (datastreams.From, error) {
	if last := value(p.LastEventID, ""); last != "" { // a client without an event may send an empty header
		n, err := strconv.ParseInt(last, 10, 60)
		if err != nil || n < 0 {
			return 0, im.RefuseField(im.Invalid, "invalid_request", "Last-Event-ID", "is not the id of a frame")
		}
		return datastreams.From(n + 1), nil
	}
	switch from := value(p.From, "oldest"); from {
	case "oldest":
		return datastreams.Oldest, nil
	case "now":
		return datastreams.Now, nil
	default:
		n, err := strconv.ParseInt(from, 10, 60)
		if err != nil {
			return 0, im.RefuseField(im.Invalid, "invalid_request", "from", "is not the id of a frame")
		}
		return datastreams.From(n), nil
	}
}

// reading is the response of a reader. It lasts until the reader ends, at the latest with the data
// stream.
type reading struct {
	ctx    context.Context
	server *Server
	reader *datastreams.Reader
	binary bool
}

// VisitReadDataStreamResponse writes the headers at once, and then frames.
func (r reading) VisitReadDataStreamResponse(w http.ResponseWriter) error {
	if r.binary {
		h := w.Header()
		h.Set("Content-Type", octets)
		h.Set("X-Accel-Buffering", "no") // nginx would buffer frames
		h.Set("Trailer", endedTrailer)
		h.Set(firstFrameHeader, strconv.FormatInt(r.reader.First(), 10))
		w.WriteHeader(http.StatusOK)
	} else {
		beginStream(w)
	}
	if headersOnly(r.ctx) {
		r.reader.Close()
		return nil
	}
	// The server's read timeout is for short requests. A writer that cannot set a deadline
	// enforces none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	end, err := r.reader.Serve(r.ctx, events.NewResponseSink(w, r.server.writeTimeout))
	switch {
	case end != nil && r.binary:
		w.Header().Set(endedTrailer, end.Reason.String())
	case errors.Is(err, datastreams.ErrGap):
		w.Header().Set(endedTrailer, "gap")
	case err != nil && r.ctx.Err() == nil:
		r.server.log.DebugContext(r.ctx, "reader of a data stream ended", "error", faults.Text(err))
	}
	return nil
}

// PushFrames implements POST /v1/streams/{stream}/frames. The request stays open until the client
// ends its body, a frame is refused or the right to push ends.
func (s *Server) PushFrames(ctx context.Context, r api.PushFramesRequestObject) (api.PushFramesResponseObject, error) {
	hub, id, err := s.dataStream(r.Stream)
	if err != nil {
		return nil, err
	}
	publisher, err := hub.Publish(ctx, streamClient(ctx), id, im.UserID(value(r.Params.As, "")))
	if err != nil {
		return nil, err
	}
	if err := s.verifier.Recheck(principal(ctx)); err != nil { // see ReadDataStream
		publisher.Close()
		return nil, err
	}
	request, _ := ctx.Value(pushKey{}).(*http.Request)
	p := &pushing{ctx: ctx, server: s, publisher: publisher, body: request.Body, encoding: datastreams.Binary}
	switch contentType := request.Header["Content-Type"]; { // validated to be one of the three
	case hasMediaType(contentType, "application/json"):
		p.encoding = datastreams.OneJSON
	case hasMediaType(contentType, ndjson):
		p.encoding = datastreams.Lines
	}
	return p, nil
}

const (
	// frameIdle is the time for which a request may send nothing within a frame.
	frameIdle = 30 * time.Second
	// The rest of a refused request is read for up to restTime, and up to restBytes of it. If the
	// connection were closed while the client sends, the answer could be lost.
	restTime  = 500 * time.Millisecond
	restBytes = 4 << 20
)

// pushing is a request that pushes frames, which is answered at its end. A goroutine reads
// the body, so that the request can be answered while the client is silent.
type pushing struct {
	ctx       context.Context
	server    *Server
	publisher *datastreams.Publisher
	body      io.Reader
	encoding  datastreams.Encoding
	rc        *http.ResponseController

	inFrame bool // of the reading goroutine
	held    int  // bytes of memory that it holds
	ended   atomic.Bool
}

// VisitPushFramesResponse reads and pushes frames until the body ends, a frame is refused or the
// right to push ends, and then answers.
func (p *pushing) VisitPushFramesResponse(w http.ResponseWriter) error {
	defer p.publisher.Close()
	p.rc = http.NewResponseController(w)
	_ = p.rc.EnableFullDuplex() // HTTP/2 is always full-duplex
	// The server's write timeout started with the request and is meant for short ones. Once it has
	// passed, the answer would be lost; HTTP/2 would reset the stream.
	_ = p.rc.SetWriteDeadline(time.Time{})
	read := make(chan error, 1)
	go func() { read <- p.push() }()

	var err error
	finished := false
	select {
	case err = <-read:
		finished = true
	case <-p.publisher.Gone():
		err = p.publisher.Err()
	}
	// No frame is accepted any more: the goroutine has finished, or the publisher was ended. Close it
	// before the answer, so that the client's next request is not refused because of this one.
	p.publisher.Close()
	_ = p.rc.SetWriteDeadline(time.Now().Add(p.server.writeTimeout))
	frames, last := p.publisher.Pushed()
	if err == nil {
		_ = p.rc.SetReadDeadline(time.Time{}) // passing it would cancel the request
		err = api.PushFrames200JSONResponse(pushed(frames, last)).VisitPushFramesResponse(w)
		_ = p.rc.Flush()
		_ = p.rc.SetWriteDeadline(time.Time{}) // the connection may have more requests
		return err
	}
	retryAfterOf(w, err)
	problem := p.server.problemFor(p.ctx, err)
	switch frames {
	case 0:
		problem.Detail += ": no frame was pushed"
	case 1:
		problem.Detail += ": 1 frame was pushed, with the id " + strconv.FormatInt(last, 10)
	default:
		problem.Detail += ": " + strconv.FormatInt(frames, 10) + " frames were pushed, the last one with the id " + strconv.FormatInt(last, 10)
	}
	w.Header().Set("Connection", "close")
	write(w, problem)
	_ = p.rc.Flush() // fails if the client has disconnected
	p.ended.Store(true)
	_ = p.rc.SetReadDeadline(time.Now().Add(restTime))
	if !finished {
		<-read //nolint:errcheck // an error in the rest of the body does not matter
	}
	_, _ = io.CopyN(io.Discard, p.body, restBytes)
	return nil
}

func pushed(frames, last int64) api.PushedFrames {
	out := api.PushedFrames{Frames: frames}
	if frames > 0 {
		out.LastID = &last
	}
	return out
}

// push pushes frames until the end of the body, and then returns nil.
func (p *pushing) push() (err error) {
	defer p.release()
	defer func() {
		if v := recover(); v != nil { // the HTTP server recovers from panics of its own goroutines only
			p.server.log.ErrorContext(p.ctx, "panic while frames are pushed", faults.Panic(v)...)
			err = faults.Recovered(v)
		}
	}()
	decoder := datastreams.NewDecoder(p, p.encoding, p.server.maxFrameBytes, func(in bool) { p.inFrame = in }, p.take)
	for {
		frame, err := decoder.Next()
		var cut *datastreams.ReadError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &cut) && errors.Is(err, os.ErrDeadlineExceeded):
			return im.RefuseField(im.Invalid, "malformed_frame", cut.Frame, "is cut off: nothing more has arrived for %d seconds", int(frameIdle.Seconds()))
		case errors.As(err, &cut), err != nil && !isRefusal(err):
			return im.Refuse(im.Invalid, "malformed_frame", "the body could not be read to its end")
		case err != nil:
			return err
		}
		_, err = p.publisher.Push(frame, p.encoding == datastreams.OneJSON)
		p.release()
		if err != nil {
			return err
		}
	}
}

func isRefusal(err error) bool {
	_, ok := im.AsError(err)
	return ok
}

// Read reads the body. Between frames it may take as long as the data stream lasts.
func (p *pushing) Read(b []byte) (int, error) {
	var deadline time.Time
	if p.inFrame {
		deadline = time.Now().Add(frameIdle)
	}
	_ = p.rc.SetReadDeadline(deadline) // response recorders have no deadlines
	// Check after setting the deadline: the handler sets ended and then a deadline, which the one
	// above may have replaced.
	if p.ended.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return p.body.Read(b)
}

// take takes memory for a frame from the budget of bodies.
func (p *pushing) take(bytes int) error {
	if !p.server.bodies.reading.take(principal(p.ctx).User, bytes) {
		return errOverloaded
	}
	p.held += bytes
	return nil
}

// release returns the memory of a frame.
func (p *pushing) release() {
	p.server.bodies.reading.release(principal(p.ctx).User, p.held)
	p.held = 0
}
