package events

import (
	"errors"
	"net/http"
	"time"
)

// Sink is where a stream is written to. Both methods end with an error if they
// block for too long; after an error the sink is not used again.
type Sink interface {
	// Write takes p, which it neither keeps nor changes.
	Write(p []byte) error
	// Flush sends what was written on its way.
	Flush() error
}

// NewResponseSink makes a sink of an HTTP response, whose header must have been
// written. A write or flush that blocks longer than the timeout is an error.
// The response must know flushing and deadlines, itself or by an Unwrap method
// (see [http.ResponseController]).
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
	// Silence is no fault: HTTP/2 resets a stream whose deadline passes, even
	// when nothing is being written.
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
