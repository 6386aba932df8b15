package events

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"time"
)

// Conn is the connection of a stream that a writer of the hub writes: the body of an HTTP/1.1
// response, in chunks. One goroutine at a time uses it, except for Interrupt.
type Conn interface {
	// TryWrite writes without waiting. It returns the number of bytes that the connection has
	// accepted, and whether it is full: from then on only Await may write. It must not keep or
	// change p.
	TryWrite(p []byte) (n int, full bool, err error)
	// Await calls try, which may call TryWrite, each time the connection may accept more, until try
	// returns true. The error wraps [os.ErrDeadlineExceeded] if that has not happened by the
	// deadline, or if Interrupt was called.
	Await(until time.Time, try func() bool) error
	// Interrupt makes the current call of Await return, and every later one at once.
	Interrupt()
	// Notify arranges for gone to be called when the client closes its end.
	Notify(gone func()) error
	// Close closes the connection. Data that it has not accepted yet is lost.
	Close() error
}

// ErrGone ends a stream whose client has closed the connection.
var ErrGone = errors.New("connection closed by the client")

// lastChunk ends the body of a response.
const lastChunk = "0\r\n\r\n"

// pooled is a stream that a writer writes. The writer gives it to a goroutine of its own while
// the stream has to wait: for the log, or for a client that does not read.
type pooled struct {
	service
	conn    Conn
	writer  *writer
	timeout time.Duration   // ends the stream if the connection is full for longer
	done    func(err error) // gets what Serve would return

	// away means that another goroutine has the stream. This field and the next two belong to the
	// writer.
	away  bool
	due   time.Time // when the writer looks whether a heartbeat is due or the token has ended
	index int       // in writer.timing, -1 if it is not there
	// err is the reason why the stream ends, set by the goroutine that was serving it.
	err error

	// left are the frames of the batch that are not written. part is the rest of a frame whose
	// beginning the connection has accepted: of the first frame in left if partOf, its encoding, is
	// set.
	left   []*Frame
	part   []byte
	partOf *wire
	full   bool // the connection accepts nothing for now
}

// ServeConn writes what the client has missed, and then passes the stream to a writer of the hub,
// which writes it until it ends. When it has ended, conn is closed, the stream is removed from the
// hub, and done is called with the error that [Subscription.Serve] would return, or [ErrGone]. A
// connection that accepts nothing for longer than timeout ends the stream. The caller must have
// written the header of the response.
func (s *Subscription) ServeConn(conn Conn, timeout time.Duration, done func(error)) {
	p := &pooled{
		service: service{Subscription: s, ctx: s.hub.background, chunked: true},
		conn:    conn, timeout: timeout, done: done, away: true, index: -1,
	}
	p.sink = p
	if p.writer = s.hub.writer(); p.writer == nil {
		p.finish(ErrClosed)
		return
	}
	s.mu.Lock()
	s.pooled, s.scheduled = p, true
	s.mu.Unlock()
	p.run(func() error {
		if err := conn.Notify(func() { s.end(ErrGone) }); err != nil {
			return err
		}
		if err := p.open(); err != nil {
			return err
		}
		return p.wait()
	})
}

// run calls a function while the writer does not have the stream, and then gives the stream to the
// writer.
func (p *pooled) run(fn func() error) {
	defer p.writer.add(p)
	defer func() {
		if v := recover(); v != nil {
			p.err = p.panicked(v)
		}
	}()
	p.err = fn()
}

// turn writes what is queued and handles what is due, without blocking. It reports whether the
// stream has to wait.
func (p *pooled) turn(j *joiner, now time.Time) (waits bool, err error) {
	batch, behind, ended := p.take()
	switch {
	case ended != nil:
		return false, ended
	case p.expired(now):
		return false, ErrTokenExpired
	case behind:
		return true, nil
	}
	p.left = batch
	if err := p.push(j, now, math.MaxInt); err != nil || p.full {
		return p.full, err
	}
	if !now.Before(p.due) {
		if err := p.tick(); err != nil {
			return false, err
		}
		p.due = time.Now().Add(p.service.due())
	}
	return p.full, nil
}

// wait waits until the connection has accepted everything and the stream has caught up.
func (p *pooled) wait() error {
	if err := p.drain(); err != nil {
		return err
	}
	p.mu.Lock()
	behind := p.behind
	p.mu.Unlock()
	if !behind {
		return nil
	}
	return p.catchUp()
}

// drain writes what the connection has not accepted yet. It waits for up to timeout for each
// chunkSize bytes, so a client that reads too slowly is cut off.
func (p *pooled) drain() error {
	if !p.full {
		return nil
	}
	for p.full || len(p.part) > 0 || len(p.left) > 0 {
		if err := p.interruptible(func(error) { p.conn.Interrupt() }); err != nil {
			return err
		}
		until := time.Now().Add(p.timeout)
		if !p.expiresAt.IsZero() && p.expiresAt.Before(until) {
			until = p.expiresAt
		}
		var failed error
		err := p.conn.Await(until, func() bool {
			// Many streams may wait at once, so each has a buffer only while it writes.
			j := joiners.Get().(*joiner)
			defer joiners.Put(j)
			failed = p.push(j, time.Now(), chunkSize)
			return failed != nil || !p.full
		})
		_ = p.interruptible(nil)
		if failed != nil {
			return failed
		}
		if err != nil {
			return cmp.Or(p.endedBy(time.Now()), err)
		}
		p.full = false
	}
	return nil
}

// push writes what is left, until the connection is full or limit bytes were written. A retraction
// can change a frame until the connection has accepted its beginning.
func (p *pooled) push(j *joiner, now time.Time, limit int) error {
	p.full = false
	for wrote := 0; wrote < limit && !p.full; now = p.written {
		var n int
		var err error
		switch {
		case len(p.part) > 0:
			n, err = p.pushPart()
		case len(p.left) == 0:
			return nil
		case p.expired(now):
			return ErrTokenExpired
		case p.invalid.Load(): // the next turn handles it
			p.left = nil
			return nil
		default:
			n, err = p.pushFrames(j, now)
		}
		if err != nil {
			return err
		}
		wrote += n
	}
	return nil
}

// pushPart writes the rest of a frame.
func (p *pooled) pushPart() (int, error) {
	n, err := p.try(p.part)
	if p.part = p.part[n:]; len(p.part) == 0 && p.partOf != nil {
		p.completed([]*wire{p.partOf})
	}
	if len(p.part) == 0 {
		p.part, p.partOf = nil, nil
	}
	return n, err
}

// pushFrames writes as many frames as fit into one write.
func (p *pooled) pushFrames(j *joiner, now time.Time) (int, error) {
	defer j.forget()
	n := 0
	p.written = now // even if all frames were lost and nothing was written
	if b := j.join(&p.service, p.left, now); len(b) > 0 {
		var err error
		if n, err = p.try(b); err != nil {
			return n, err
		}
	}
	whole, rest := 0, n
	for ; whole < len(j.wires) && rest >= len(j.wires[whole].chunk()); whole++ {
		rest -= len(j.wires[whole].chunk())
	}
	if rest > 0 {
		p.partOf = j.wires[whole]
		p.part = p.partOf.chunk()[rest:]
	}
	p.completed(j.wires[:whole])
	return n, nil
}

// completed records that the connection has accepted the first frames of left, encoded as wires.
func (p *pooled) completed(wires []*wire) {
	n := len(wires)
	p.wrote(p.left[:n], wires, true)
	if p.left = p.left[n:]; len(p.left) == 0 {
		p.left = nil // frees a large batch
	}
}

func (p *pooled) try(b []byte) (n int, err error) {
	n, p.full, err = p.conn.TryWrite(b)
	p.written = time.Now()
	return n, err
}

func (p *pooled) expired(now time.Time) bool {
	return !p.expiresAt.IsZero() && !now.Before(p.expiresAt)
}

// Write writes b. During a turn of the writer it does not block: what the connection does not
// accept is written later. Otherwise it returns when the connection has accepted everything.
func (p *pooled) Write(b []byte) error {
	n, err := p.try(b)
	if err != nil || !p.full {
		return err
	}
	p.part = b[n:]
	if p.away {
		return p.drain()
	}
	p.part = bytes.Clone(p.part)
	return nil
}

// Flush does nothing: nothing is buffered.
func (p *pooled) Flush() error { return nil }

// finish ends the stream with a reason.
func (p *pooled) finish(reason error) {
	switch {
	case errors.Is(reason, ErrClosed), errors.Is(reason, ErrTokenExpired), errors.Is(reason, ErrTokenCut):
		if !p.full { // otherwise the client is in the middle of a chunk
			_, _, _ = p.conn.TryWrite([]byte(lastChunk)) // fails if the client has disconnected
		}
		if errors.Is(reason, ErrClosed) {
			reason = nil
		}
	}
	_ = p.conn.Close()
	p.hold(nil)
	p.Close()
	p.done(reason)
}
