package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// answering is a response that writes itself. If it returns an error before it has written
// anything, the answer is a problem.
type answering func(w http.ResponseWriter) error

// VisitExportMessagesResponse writes the response.
func (a answering) VisitExportMessagesResponse(w http.ResponseWriter) error { return a(w) }

// VisitRunRetentionResponse writes the response.
func (a answering) VisitRunRetentionResponse(w http.ResponseWriter) error { return a(w) }

// lineWriter streams a response of JSON lines.
type lineWriter struct {
	server  *Server
	w       http.ResponseWriter
	rc      *http.ResponseController
	buffer  bytes.Buffer // lines that were not written yet
	encoder *json.Encoder
	began   bool // the headers were written
}

func newLineWriter(s *Server, w http.ResponseWriter) *lineWriter {
	l := &lineWriter{server: s, w: w, rc: http.NewResponseController(w)}
	l.encoder = plain(&l.buffer)
	// The server's deadlines are for short requests. A read deadline that passes while
	// the response is written would cancel the request.
	_ = l.rc.SetReadDeadline(time.Time{})
	_ = l.rc.SetWriteDeadline(time.Time{}) // flush sets one for each write
	return l
}

// add appends a line to the buffer.
func (l *lineWriter) add(line any) error { return l.encoder.Encode(line) }

// flush writes the buffer, after the headers if it is the first call. It fails if the
// client does not read for the server's write timeout.
func (l *lineWriter) flush() error {
	l.begin()
	err := l.rc.SetWriteDeadline(time.Now().Add(l.server.writeTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := l.w.Write(l.buffer.Bytes()); err != nil {
		return err
	}
	l.buffer.Reset()
	if err := l.rc.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream whose deadline passes even while nothing is written.
	_ = l.rc.SetWriteDeadline(time.Time{})
	return nil
}

// begin writes the headers, once.
func (l *lineWriter) begin() {
	if l.began {
		return
	}
	l.began = true
	h := l.w.Header()
	h.Set("Content-Type", ndjson)
	h.Set("X-Accel-Buffering", "no") // nginx and similar proxies would buffer the lines
	l.w.WriteHeader(http.StatusOK)
}

// close writes the buffer and ends the response, unless err says that the response has failed.
// If it has, or if writing fails, close returns the error if no headers were written, and otherwise
// drops the connection, so that the client does not take the response for a complete one.
func (l *lineWriter) close(err error) error {
	if err == nil {
		err = l.flush()
	}
	if err != nil && l.began {
		panic(http.ErrAbortHandler)
	}
	return err
}
