package handlers

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/transfer"
)

// lineReader reads and prepares the lines of an import in a goroutine of its own.
type lineReader struct {
	server *Server
	in     *transfer.Reader
	out    chan []importedLine
	done   chan struct{} // closed when the goroutine has ended
	err    error         // why it ended, nil after the body or ctx has ended; set before out is closed
	last   atomic.Int64  // the number of the line that was read last
}

// run sends prepared lines to out, and closes out at the end.
func (l *lineReader) run(ctx context.Context) {
	defer close(l.out)
	defer close(l.done)
	defer func() {
		if v := recover(); v != nil { // the HTTP server recovers from panics of its own goroutines only
			l.server.log.ErrorContext(ctx, "panic in an import", faults.Panic(v)...)
			l.err = faults.Recovered(v)
		}
	}()
	var (
		chunk  []importedLine
		weight int
	)
	for ended := false; !ended; {
		line, some, err := l.prepare(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			l.err = err
			return
		}
		ended = err != nil
		if some {
			chunk, weight = append(chunk, line), weight+line.prepared.Weight()
		}
		if len(chunk) == 0 || !ended && weight < chunkWeight && l.in.Ready() {
			continue
		}
		select {
		case l.out <- chunk:
			chunk, weight = nil, 0
		case <-ctx.Done():
			return
		}
	}
}

// prepare reads and prepares one line. It returns false for a blank line, a refused line for one
// that is too long, io.EOF with the last line, and false with any other error: the line may be
// incomplete, or there is no memory for it.
func (l *lineReader) prepare(ctx context.Context) (importedLine, bool, error) {
	text, err := l.in.Next()
	line := importedLine{number: l.last.Add(1)}
	if errors.Is(err, bufio.ErrTooLong) {
		line.prepared = im.Refused(im.Refuse(im.TooLarge, "body_too_large", "the line is over 1 MiB"))
		return line, true, nil
	}
	if len(text) == 0 || err != nil && !errors.Is(err, io.EOF) {
		return line, false, err
	}
	// A line takes memory for decoding from the same budget as other bodies, but may wait longer
	// for it.
	user := principal(ctx).User
	if err := l.server.bodies.decoding.acquire(ctx, user, len(text), importIdle); err != nil {
		return line, false, err
	}
	defer l.server.bodies.decoding.release(user, len(text))
	line.prepared = l.server.prepareLine(text)
	return line, true, err
}

// prepareLine parses a line and checks what does not depend on what is stored.
func (s *Server) prepareLine(text []byte) im.Prepared {
	line, err := transfer.ParseLine(text)
	switch {
	case err != nil:
		return im.Refused(err)
	case line.Conversation != nil:
		return s.service.PrepareConversation(*line.Conversation)
	default:
		return s.service.PrepareMessage(*line.Message)
	}
}

// fill appends lines that are ready until all lines take at least weight rows. It does not block.
func (l *lineReader) fill(lines []importedLine, weight int) []importedLine {
	for _, line := range lines {
		weight -= line.prepared.Weight()
	}
	for weight > 0 {
		select {
		case more, open := <-l.out:
			if !open {
				return lines // the next receive notices a closed channel, too
			}
			for _, line := range more {
				weight -= line.prepared.Weight()
			}
			lines = append(lines, more...)
		default:
			return lines
		}
	}
	return lines
}

// patientReader reads a body with a deadline of importIdle for each read. Once ctx has ended, it
// returns the error of ctx.
type patientReader struct {
	ctx  context.Context
	body io.Reader
	rc   *http.ResponseController
}

// Read implements [io.Reader].
func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(importIdle)) // response recorders have no deadlines
	// Check after setting the deadline: the handler cancels ctx and then sets a deadline in the
	// past, which the one above may have replaced.
	if p.ctx.Err() != nil {
		return 0, p.ctx.Err()
	}
	n, err := p.body.Read(b)
	if errors.Is(err, io.EOF) {
		_ = p.rc.SetReadDeadline(time.Time{}) // passing it would cancel the request
	}
	return n, err
}
