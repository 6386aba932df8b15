package events

import (
	"errors"
	"net/http"
	"time"
)

// Sink is the destination of a stream. Both methods return an error if they block for too
// long. After an error the sink is not used again.
type Sink interface {
	// Write writes p. It must not keep or change p.
	Write(p []byte) error
	// Flush sends buffered data to the client.
	Flush() error
}

// NewResponseSink returns a sink that writes to an HTTP response, the header of which must
// be written. A write or flush that blocks for longer than timeout fails. The response must
// support flushing and, unless it never blocks, deadlines, itself or by an Unwrap method (see
// [http.ResponseController]).
func NewResponseSink(w http.ResponseWriter, timeout time.Duration) Sink {
	return &responseSink{w: w, control: http.NewResponseController(w), timeout: timeout}
}

type responseSink struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

func (s *responseSink) Write(p []byte) error {
	if err := s.extend(); err != nil {
		return err
	}
	_, err := s.w.Write(p)
	return err
}

func (s *responseSink) Flush() error {
	if err := s.extend(); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream whose deadline passes even while nothing is written.
	return s.deadline(time.Time{})
}

func (s *responseSink) extend() error { return s.deadline(time.Now().Add(s.timeout)) }

func (s *responseSink) deadline(at time.Time) error {
	err := s.control.SetWriteDeadline(at)
	if errors.Is(err, http.ErrNotSupported) {
		return nil // a recorder, which never blocks
	}
	return err
}
