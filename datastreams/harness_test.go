package datastreams

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// domain is a domain with one conversation, whose id is 7.
type domain struct {
	mu      sync.Mutex
	members map[im.UserID]bool
	sent    []im.Draft
	drops   bool // the hook drops messages
	fails   error
	failed  int // look-ups of users
}

func (d *domain) StreamConversation(_ context.Context, actor im.Actor, ref im.ConversationRef) (im.Conversation, im.StreamUser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ref.ID != 7 || !d.members[actor.User] {
		return im.Conversation{}, im.StreamUser{}, im.Refuse(im.NotFound, "conversation_not_found", "no such conversation")
	}
	return im.Conversation{ID: 7}, im.StreamUser{Sees: true}, nil
}

func (d *domain) StreamUsers(_ context.Context, _ im.ID, users []im.UserID) (map[im.UserID]im.StreamUser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails != nil {
		d.failed++
		return nil, d.fails
	}
	out := make(map[im.UserID]im.StreamUser)
	for _, u := range users {
		if d.members[u] {
			out[u] = im.StreamUser{Sees: true}
		}
	}
	return out, nil
}

func (d *domain) Send(_ context.Context, actor im.Actor, _ im.ConversationRef, draft im.Draft) (im.Sent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, draft)
	sent := im.Sent{Message: im.Message{ID: 42}}
	if d.drops {
		sent.Message.VisibleTo = actor.User
	}
	return sent, d.fails
}

// clock is a clock that a test sets.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(d.Milliseconds()) }
func newClock() *clock                   { c := &clock{}; c.at.Store(time.Now().UnixMilli()); return c }

// isMonotonic reports whether a time has a monotonic reading.
func isMonotonic(at time.Time) bool { return strings.Contains(at.String(), " m=") }

func as(user im.UserID) Client { return Client{Actor: im.Actor{User: user}, IssuedAt: time.Now()} }
func text(s string) Payload    { return NewPayload(0, Text, []byte(s)) }
func code(err error) string {
	e, _ := im.AsError(err)
	if e == nil {
		return fmt.Sprint(err)
	}
	return e.Code
}

func newTestHub(t testing.TB, o Options) *Hub {
	t.Helper()
	if o.Domain == nil {
		o.Domain = &domain{members: map[im.UserID]bool{"own": true, "bob": true}}
	}
	h := NewHub(o)
	t.Cleanup(h.Close)
	return h
}

// open starts a data stream that anyone may read, and a publisher of its owner.
func open(t testing.TB, h *Hub) (im.DataStreamID, *Publisher) {
	t.Helper()
	v, err := h.Create(context.Background(), im.Actor{User: "own"}, im.DataStreamDraft{Access: im.StreamForAnyone})
	if err != nil {
		t.Fatal(err)
	}
	return v.ID, publish(t, h, v.ID, Client{Actor: im.Actor{User: "own", Admin: true}})
}

func publish(t testing.TB, h *Hub, id im.DataStreamID, c Client) *Publisher {
	t.Helper()
	p, err := h.Publish(context.Background(), c, id, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func push(t testing.TB, p *Publisher, f Payload) {
	t.Helper()
	if _, err := p.Push(f, false); err != nil {
		t.Fatal(err)
	}
}

// sink collects what a reader writes, or passes it to a follower. While it is held, writes wait.
type sink struct {
	mu       sync.Mutex
	got      bytes.Buffer
	follower *follower     // nil to collect in got
	hold     chan struct{} // nil if writes do not wait

	frames atomic.Int64 // the number of frames that the follower has got
}

func (s *sink) Write(p []byte) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.follower == nil {
		s.got.Write(p)
		return nil
	}
	s.follower.take(p)
	s.frames.Store(s.follower.frames)
	return s.follower.err
}

func (s *sink) Flush() error { return nil }

// served is a reader that is being served.
type served struct {
	sink sink
	end  *End
	err  error
	done chan struct{}
}

func read(t testing.TB, h *Hub, id im.DataStreamID, c Client, from From, binary bool, hold chan struct{}) *served {
	t.Helper()
	r, err := h.Read(context.Background(), c, id, from, binary)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{sink: sink{hold: hold}, done: make(chan struct{})}
	s.serve(r)
	return s
}

// followed is read for a long data stream, whose frames are checked and not kept.
func followed(t testing.TB, h *Hub, id im.DataStreamID, c Client) *served {
	t.Helper()
	r, err := h.Read(context.Background(), c, id, Oldest, false)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{sink: sink{follower: &follower{next: 1}}, done: make(chan struct{})}
	s.serve(r)
	return s
}

func (s *served) serve(r *Reader) {
	go func() {
		defer close(s.done)
		s.end, s.err = r.Serve(context.Background(), &s.sink)
	}()
}

func (s *served) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *served) wait(t testing.TB) string {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(await.Limit):
		t.Fatal("the reader does not end")
	}
	return s.sink.got.String()
}

// follower checks what a reader gets: ids rise by one, except at gaps, which say how many frames
// are missing.
type follower struct {
	next         int64 // the id of the next frame
	frames, lost int64
	rest         []byte // of an incomplete event
	err          error  // the first fault
}

// take processes more of what the reader writes.
func (f *follower) take(p []byte) {
	left := append(f.rest, p...)
	for f.err == nil {
		block, rest, complete := bytes.Cut(left, []byte("\n\n"))
		if !complete {
			break
		}
		f.event(block)
		left = rest
	}
	f.rest = append(f.rest[:0], left...)
}

func (f *follower) event(block []byte) {
	switch {
	case bytes.Contains(block, []byte("event: stream.frame\n")):
		// The frames are too many for a JSON decoder.
		n := strconv.FormatInt(f.next, 10)
		head, data, _ := bytes.Cut(block, []byte("\ndata: "))
		if !bytes.Contains(head, []byte("id: "+n+"\n")) || !bytes.HasPrefix(data, []byte(`{"id":`+n+`,`)) || !bytes.HasSuffix(data, []byte(`,"text":"`+n+`"}`)) {
			f.err = fmt.Errorf("%q instead of frame %s", block, n)
			return
		}
		f.next, f.frames = f.next+1, f.frames+1
	case bytes.Contains(block, []byte("event: stream.gap\n")):
		_, data, _ := bytes.Cut(block, []byte("\ndata: "))
		var gap struct{ Lost int64 }
		if err := json.Unmarshal(data, &gap); err != nil {
			f.err = fmt.Errorf("%q: %w", data, err)
			return
		}
		f.next, f.lost = f.next+gap.Lost, f.lost+gap.Lost
	}
}

// follow checks what a reader got. It returns the number of frames, and of those that were lost.
func follow(t testing.TB, got string) (frames, lost int64) {
	t.Helper()
	f := follower{next: 1}
	f.take([]byte(got))
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f.frames, f.lost
}
