package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/imapi/imapi/jsonscan"
)

const (
	// idleTimeout closes a stream on which nothing arrives. The server sends something every 15 s.
	idleTimeout = 60 * time.Second
	// backoff is the wait before a stream is opened again, unless reconnect has closed it.
	backoff = time.Second
)

// frame is an event as a stream delivers it, valid until the next one.
type frame struct {
	event string
	data  []byte
}

// stream is an open event stream. It reads as little of each event as it needs, because the
// server on the same machine needs the processor, too.
type stream struct {
	c    net.Conn
	in   *bufio.Reader
	line []byte
	data []byte
	id   string
	// cursor is the id of the last event that next returned, or of a later heartbeat.
	cursor string
	// beat is set if the previous line was a comment. An id after a comment belongs to a heartbeat,
	// which does not end with an empty line.
	beat bool
}

// openStream opens the stream of a user on a device after a cursor; "" begins now. size is the size
// of each buffer in bytes.
func openStream(ctx context.Context, to *endpoint, token, device, cursor string, size int) (*stream, error) {
	c, err := to.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	r := request{method: http.MethodGet, path: "/v1/events", token: token, device: device, header: "Accept: text/event-stream\r\n"}
	if cursor != "" {
		r.header += "Last-Event-ID: " + cursor + "\r\n"
	}
	_ = c.SetDeadline(time.Now().Add(requestTimeout)) // a closed connection fails below
	if _, err := c.Write(r.append(nil, to.url)); err != nil {
		_ = c.Close()
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(c, size), nil) //nolint:bodyclose // the connection is closed instead
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		_ = c.Close()
		return nil, fmt.Errorf("the stream was refused: %s", refusalOf(response.StatusCode, body))
	}
	return newStream(c, response.Body, cursor, size), nil
}

func newStream(c net.Conn, body io.Reader, cursor string, size int) *stream {
	return &stream{c: c, in: bufio.NewReaderSize(body, size), cursor: cursor}
}

// next returns the next event with data.
func (s *stream) next() (frame, error) {
	var f frame
	s.data = s.data[:0]
	has := false
	for {
		if s.in.Buffered() == 0 {
			_ = s.c.SetReadDeadline(time.Now().Add(idleTimeout))
		}
		line, err := s.readLine()
		if err != nil {
			return f, err
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		beat := s.beat
		s.beat = len(line) > 0 && line[0] == ':'
		switch string(name) {
		case "":
			if len(line) == 0 && has {
				s.cursor = s.id
				f.data = s.data
				return f, nil
			}
		case "id":
			if s.id = string(value); beat {
				s.cursor = s.id
			}
		case "event":
			f.event = eventName(value)
		case "data":
			s.data = append(s.data, value...)
			has = true
		}
	}
}

// eventName returns a name without allocating the one that comes most often.
func eventName(b []byte) string {
	if string(b) == messageCreated {
		return messageCreated
	}
	return string(b)
}

const messageCreated = "message.created"

// readLine returns the next line without its end.
func (s *stream) readLine() ([]byte, error) {
	line, err := s.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		s.line = append(s.line[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = s.in.ReadSlice('\n')
			s.line = append(s.line, line...)
		}
		line = s.line
	}
	return bytes.TrimRight(line, "\r\n"), err
}

func (s *stream) close() { _ = s.c.Close() }

// listener is a stream that is opened again, at its cursor, whenever it ends.
type listener struct {
	run    *run
	user   *user
	device string
	size   int
	// received is nil for an idle stream.
	received *received

	mu     sync.Mutex
	open   *stream
	closed bool // by reconnect, so it does not count as a disconnect
	// waiting are notified of the next ready event, or of the error if the next attempt fails.
	waiting []chan error
}

// listen follows the stream until ctx ends. It returns an error only if the first attempt to open
// the stream fails, or if ctx ends during an attempt.
func (l *listener) listen(ctx context.Context, ready func()) error {
	cursor := ""
	for first := true; ctx.Err() == nil; first = false {
		s, err := openStream(ctx, &l.run.endpoint, l.user.token, l.device, cursor, l.size)
		if err != nil {
			if first || ctx.Err() != nil {
				return err
			}
			l.tell(err)
			l.run.deliveries.disconnects.Add(1)
			pause(ctx, backoff)
			continue
		}
		stop := context.AfterFunc(ctx, s.close)
		l.set(s)
		_ = l.read(s, ready)
		stop()
		s.close()
		if s.cursor != "" {
			cursor = s.cursor
		}
		if asked := l.set(nil); !asked && ctx.Err() == nil {
			l.run.deliveries.disconnects.Add(1)
			pause(ctx, backoff)
		}
	}
	return nil
}

// set sets the open stream. It reports whether reconnect closed the previous one.
func (l *listener) set(s *stream) (asked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked = l.closed
	l.open, l.closed = s, false
	return asked
}

// read reads events until the stream ends.
func (l *listener) read(s *stream, ready func()) error {
	for {
		f, err := s.next()
		if err != nil {
			return err
		}
		switch f.event {
		case messageCreated:
			l.take(f.data)
		case "ready":
			ready()
			l.tell(nil)
		case "reset":
			l.run.deliveries.resets.Add(1)
		}
	}
}

// take records the message of an event.
func (l *listener) take(data []byte) {
	if l.received == nil {
		return
	}
	seq, err := strconv.ParseInt(string(jsonscan.Member(data, "seq")), 10, 64)
	if err != nil {
		return // an event without a message
	}
	l.received.take(bytes.Trim(jsonscan.Member(data, "conversation_id"), `"`), seq, func(v verdict) {
		d := &l.run.deliveries
		switch v {
		case twice:
			d.twice.Add(1)
			return
		case late:
			d.outOfOrder.Add(1)
		case inOrder, early:
		}
		if due, ok := l.run.dueOf(bytes.Trim(jsonscan.Member(jsonscan.Member(data, "message"), "client_id"), `"`)); ok && l.run.measures(time.Now()) {
			d.messages.Add(1)
			d.latency.add(time.Since(due))
		}
	})
}

// tell passes the result of a connection to reconnect.
func (l *listener) tell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.waiting {
		c <- err
	}
	l.waiting = nil
}

// reconnect closes the stream and waits until it is open again. It returns an error if the next
// attempt fails or ctx ends.
func (l *listener) reconnect(ctx context.Context) error {
	told := make(chan error, 1)
	l.mu.Lock()
	l.waiting = append(l.waiting, told)
	if l.open != nil && !l.closed {
		l.closed = true
		l.open.close()
	}
	l.mu.Unlock()
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause waits for a duration, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
