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

// lineReader reads and prepares the lines of an import.
type lineReader struct {
	server *Server
	in     *transfer.Reader
	out    chan []importedLine
	done   chan struct{} // closed when nothing is read any more
	// err is why it ended, nil at the end of the request; to be read once out is
	// closed.
	err error
	// last is the number of the last line that was read.
	last atomic.Int64
}

// run reads to the end and closes out.
func (l *lineReader) run(ctx context.Context) {
	defer close(l.out)
	defer close(l.done)
	defer func() {
		if v := recover(); v != nil { // here nobody else would keep it from ending the process
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

// prepare reads one line and prepares it; it reports false for a blank one. The
// last one comes with io.EOF. With any other error the line may not be whole,
// and is left out.
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
	// Like any other body; but an import is in no hurry.
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

// fill adds to lines what is there already, up to a weight.
func (l *lineReader) fill(lines []importedLine, weight int) []importedLine {
	for _, line := range lines {
		weight -= line.prepared.Weight()
	}
	for weight > 0 {
		select {
		case more, open := <-l.out:
			if !open {
				return lines // whoever waits for more will see it
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

// patientReader lets a client take its time for each read, but not for ever, and
// none at all once the import has ended.
type patientReader struct {
	ctx  context.Context
	body io.Reader
	rc   *http.ResponseController
}

// Read reads from the body.
func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(importIdle)) // where it cannot be set there is none
	if p.ctx.Err() != nil {
		return 0, p.ctx.Err() // who ended it has set an earlier deadline than this
	}
	n, err := p.body.Read(b)
	if errors.Is(err, io.EOF) {
		_ = p.rc.SetReadDeadline(time.Time{}) // it would end the request while it is answered
	}
	return n, err
}
