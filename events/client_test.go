package events

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imapi/imapi/im"
)

var errBroken = errors.New("connection broken")

// pipe is a sink that a client reads from. It can be made to block, and to break in the
// middle of a write.
type pipe struct {
	mu      sync.Mutex
	open    *sync.Cond
	blocked bool
	broken  bool
	blockAt int // the number of writes after which it blocks by itself, 0 for never
	left    int // the bytes after which it breaks by itself, negative for never
	parser  sseParser
	writes  int
	flushes int
}

func newPipe() *pipe {
	p := &pipe{left: -1}
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
	if p.left >= 0 && len(b) > p.left {
		p.parser.Write(b[:p.left])
		p.left, p.broken = 0, true
	}
	if p.broken {
		return errBroken
	}
	if p.left >= 0 {
		p.left -= len(b)
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

// client is one device: it connects, reads, and resumes by its cursor.
type client struct {
	t      testing.TB
	hub    *Hub
	actor  im.Actor
	issued time.Time
	ends   time.Time

	cursor *Cursor
	from   im.Position   // where its first stream began
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
	ctx, cancel := context.WithCancelCause(c.t.Context())
	c.sub, c.pipe, c.cancel, c.served = sub, p, cancel, make(chan error, 1)
	go func() { c.served <- sub.Serve(ctx, p) }()
}

// disconnect ends the stream and reads what is left of it.
func (c *client) disconnect() {
	c.t.Helper()
	c.cancel(io.EOF)
	if err := <-c.served; !errors.Is(err, io.EOF) && !errors.Is(err, errBroken) {
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
