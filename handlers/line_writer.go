package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/imapi/imapi/api"
)

// answering is a response that writes itself. An error is answered as one as
// long as nothing was written.
type answering func(w http.ResponseWriter) error

// VisitExportMessagesResponse writes it.
func (a answering) VisitExportMessagesResponse(w http.ResponseWriter) error { return a(w) }

// VisitRunRetentionResponse writes it.
func (a answering) VisitRunRetentionResponse(w http.ResponseWriter) error { return a(w) }

// resultWriter writes results and lets the client have them at once.
type resultWriter struct {
	server *Server
	w      http.ResponseWriter
	rc     *http.ResponseController
	buffer bytes.Buffer
	began  bool
}

func (o *resultWriter) write(results ...api.ImportResult) error {
	o.begin()
	o.buffer.Reset()
	e := plain(&o.buffer)
	for _, r := range results {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return o.flush()
}

// begin writes the headers, once.
func (o *resultWriter) begin() {
	if o.began {
		return
	}
	o.began = true
	h := o.w.Header()
	h.Set("Content-Type", ndjson)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies of nginx's kind would hold results back
	o.w.WriteHeader(http.StatusOK)
}

// flush writes the buffer. A client that does not take it for long is dropped.
func (o *resultWriter) flush() error {
	err := o.rc.SetWriteDeadline(time.Now().Add(o.server.writeTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write(o.buffer.Bytes()); err != nil {
		return err
	}
	if err := o.rc.Flush(); err != nil {
		return err
	}
	_ = o.rc.SetWriteDeadline(time.Time{}) // over HTTP/2 it would end what comes after it
	return nil
}

// end completes an answer, also one without lines.
func (o *resultWriter) end() error {
	o.begin()
	return nil
}

// lineWriter writes lines of JSON.
type lineWriter struct {
	resultWriter
	encoder *json.Encoder
}

func newLineWriter(s *Server, w http.ResponseWriter) *lineWriter {
	l := &lineWriter{resultWriter: resultWriter{server: s, w: w, rc: http.NewResponseController(w)}}
	l.encoder = plain(&l.buffer)
	// The server's read timeout is for requests; it would end this one as if the
	// client had gone.
	_ = l.rc.SetReadDeadline(time.Time{})
	_ = l.rc.SetWriteDeadline(time.Time{}) // each write has one of its own
	return l
}

// add puts a line into the buffer.
func (l *lineWriter) add(line any) error { return l.encoder.Encode(line) }

// flush writes what is in the buffer.
func (l *lineWriter) flush() error {
	l.begin()
	err := l.resultWriter.flush()
	l.buffer.Reset()
	return err
}

// close ends the answer. After an error it must not look as if it were whole: as
// long as nothing was written the error is returned, to be answered, and later
// the connection is dropped.
func (l *lineWriter) close(err error) error {
	if err == nil {
		err = l.flush()
	}
	if err != nil && l.began {
		panic(http.ErrAbortHandler)
	}
	return err
}
