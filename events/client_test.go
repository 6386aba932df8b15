package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imapi/imapi/im"
)

var errBroken = errors.New("connection broken")

// pipe is a sink that a client reads from. It can block, and break in the middle of a write.
type pipe struct {
	mu      sync.Mutex
	open    *sync.Cond
	blocked bool
	broken  bool
	blockAt int // the number of writes after which it blocks, 0 for never
	bytes   int // the number of bytes after which it breaks, negative for never
	parser  sseParser
	writes  int
	flushes int

	// As a Conn it accepts chunks of HTTP/1.1.
	chunks      dechunker
	sips        bool // it accepts only a part of each write at once
	interrupted bool
	closed      bool
	hungUp      bool // the client has closed its end
	gone        func()
}

func newPipe() *pipe {
	p := &pipe{bytes: -1}
	p.open = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) Write(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blockAt > 0 && p.writes == p.blockAt {
		p.blocked, p.blockAt = true, 0
	}
	for p.blocked && !p.broken {
		p.open.Wait()
	}
	if p.bytes >= 0 && len(b) > p.bytes {
		p.parser.Write(b[:p.bytes])
		p.bytes, p.broken = 0, true
	}
	if p.broken {
		return errBroken
	}
	if p.bytes >= 0 {
		p.bytes -= len(b)
	}
	p.parser.Write(b)
	p.writes++
	return nil
}

func (p *pipe) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushes++
	if p.broken {
		return errBroken
	}
	return nil
}

// TryWrite implements Conn.
func (p *pipe) TryWrite(b []byte) (n int, full bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blockAt > 0 && p.writes == p.blockAt {
		p.blocked, p.blockAt = true, 0
	}
	n = len(b)
	if p.sips {
		n = rand.N(n + 1)
	}
	if p.bytes >= 0 && n > p.bytes {
		p.chunks.write(&p.parser, b[:p.bytes])
		p.bytes, p.broken = 0, true
	}
	switch {
	case p.broken, p.closed:
		return 0, false, errBroken
	case p.blocked:
		return 0, true, nil
	}
	if p.bytes >= 0 {
		p.bytes -= n
	}
	p.chunks.write(&p.parser, b[:n])
	p.writes++
	return n, n < len(b), nil
}

// Await implements Conn.
func (p *pipe) Await(until time.Time, try func() bool) error {
	defer time.AfterFunc(time.Until(until), p.open.Broadcast).Stop()
	for {
		p.mu.Lock()
		for p.blocked && !p.broken && !p.interrupted && time.Now().Before(until) {
			p.open.Wait()
		}
		over := p.interrupted || !time.Now().Before(until)
		p.mu.Unlock()
		if over {
			return os.ErrDeadlineExceeded
		}
		if try() {
			return nil
		}
	}
}

// Interrupt implements Conn.
func (p *pipe) Interrupt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interrupted = true
	p.open.Broadcast()
}

// Notify implements Conn.
func (p *pipe) Notify(gone func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone = gone; p.hungUp {
		go gone()
	}
	return nil
}

// Close implements Conn.
func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// hangUp closes the client's end of the connection.
func (p *pipe) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hungUp = true; p.gone != nil {
		go p.gone()
	}
}

// dechunker removes the chunks of HTTP/1.1 from a response.
type dechunker struct {
	buf  []byte
	done bool // the last chunk has arrived
}

func (d *dechunker) write(to *sseParser, b []byte) {
	d.buf = append(d.buf, b...)
	for {
		line, rest, found := bytes.Cut(d.buf, []byte("\r\n"))
		if !found {
			return
		}
		size, err := strconv.ParseInt(string(line), 16, 64)
		if err != nil || d.done {
			panic(fmt.Sprintf("not a chunk: %q", d.buf))
		}
		if int64(len(rest)) < size+2 {
			return
		}
		if string(rest[size:size+2]) != "\r\n" {
			panic(fmt.Sprintf("no end of a chunk: %q", rest[size:]))
		}
		to.Write(rest[:size])
		d.buf, d.done = rest[size+2:], size == 0
	}
}

// byWriters is set if writers of the hub write the streams of clients. Otherwise each is written by
// a goroutine of its own.
var byWriters bool

// bothWays runs a test in two bubbles of synctest, one for each way to write streams.
func bothWays(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for name, is := range map[string]bool{"goroutines": false, "writers": true} {
		t.Run(name, func(t *testing.T) {
			defer func(before bool) { byWriters = before }(byWriters)
			byWriters = is
			synctest.Test(t, test)
		})
	}
}

func (p *pipe) block(blocked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = blocked
	p.open.Broadcast()
}

func (p *pipe) counts() (writes, flushes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes, p.flushes
}

// client is one device: it connects, reads, and resumes at its cursor.
type client struct {
	t      testing.TB
	hub    *Hub
	actor  im.Actor
	issued time.Time
	ends   time.Time

	cursor *Cursor
	from   im.Position   // the position at which its first stream began
	got    []im.Position // the positions of all events received
	texts  []string
	resets int
	// transients are the data of the transient events received, and transientIDs what an
	// EventSource has for their ids: the cursor of the client.
	transients, transientIDs []string

	sub    *Subscription
	pipe   *pipe
	cancel context.CancelCauseFunc
	served chan error
}

func newClient(t testing.TB, h *Hub, user im.UserID, device string) *client {
	return &client{t: t, hub: h, actor: im.Actor{User: user, Device: device}, from: -1}
}

func (c *client) subscriber() Subscriber {
	return Subscriber{Actor: c.actor, Cursor: c.cursor, IssuedAt: c.issued, ExpiresAt: c.ends}
}

// connect opens a stream over p.
func (c *client) connect(p *pipe) {
	c.t.Helper()
	sub, err := c.hub.Subscribe(c.subscriber())
	if err != nil {
		c.t.Fatalf("subscribe: %v", err)
	}
	c.sub, c.pipe, c.served = sub, p, make(chan error, 1)
	served := c.served
	if byWriters {
		c.cancel = func(error) { p.hangUp() }
		go sub.ServeConn(p, writeTimeout, func(err error) { served <- err })
		return
	}
	ctx, cancel := context.WithCancelCause(c.t.Context())
	c.cancel = cancel
	go func() { served <- sub.Serve(ctx, p) }()
}

// writeTimeout ends a stream whose client does not read. It is longer than most tests, because the
// sink of a stream in a goroutine has no timeout.
const writeTimeout = 24 * time.Hour

// disconnect ends the stream and reads what is left of it.
func (c *client) disconnect() {
	c.t.Helper()
	c.cancel(io.EOF)
	if err := <-c.served; !errors.Is(err, io.EOF) && !errors.Is(err, ErrGone) && !errors.Is(err, errBroken) {
		c.t.Errorf("%v: Serve = %v", c.actor, err)
	}
	c.read()
}

// read reads and records the events received since the last call.
func (c *client) read() []sseEvent {
	c.t.Helper()
	c.pipe.mu.Lock()
	got := c.pipe.parser.take()
	c.pipe.mu.Unlock()
	for _, e := range got {
		if e.block {
			c.t.Errorf("%v: an empty line without data: libraries call their handlers for it", c.actor)
		}
		if e.id == "" {
			continue
		}
		if e.event == transientType {
			c.transients = append(c.transients, e.data)
			c.transientIDs = append(c.transientIDs, e.id)
			continue
		}
		cursor, err := ParseCursor(e.id)
		if err != nil || cursor.Log != testLog && e.event != string(Ready) {
			c.t.Fatalf("%v: cursor %q: %v", c.actor, e.id, err)
		}
		if c.cursor != nil && cursor.Log == c.cursor.Log && cursor.Position < c.cursor.Position && e.event != string(Reset) {
			c.t.Errorf("%v: cursor went back from %d to %d", c.actor, c.cursor.Position, cursor.Position)
		}
		c.cursor = &cursor
		var v testEnvelope
		if err := json.Unmarshal([]byte(e.data), &v); err != nil || v.ID != e.id || string(v.Type) != e.event {
			c.t.Errorf("%v: frame %+v: %v", c.actor, e, err)
		}
		switch im.EventType(e.event) {
		case Ready:
			if c.from < 0 {
				c.from = cursor.Position
			}
		case Reset:
			c.resets++
		default:
			c.got = append(c.got, cursor.Position)
			c.texts = append(c.texts, strings.Trim(v.Text, `"`))
		}
	}
	return got
}

// expect checks that the client has received exactly the events for it, once and in order.
func (c *client) expect(m *model) {
	c.t.Helper()
	if diff := cmp.Diff(m.wanted(c.actor, c.from), c.got, cmpopts.EquateEmpty()); diff != "" {
		c.t.Errorf("%v from %d: unexpected positions (-want +received):\n%s", c.actor, c.from, diff)
	}
}
