package datastreams

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// domain is a domain with one conversation, whose id is 7.
type domain struct {
	mu      sync.Mutex
	members map[im.UserID]bool
	sent    []im.Draft
	fails   error
}

func (d *domain) StreamPlace(_ context.Context, actor im.Actor, ref im.ConversationRef) (im.Conversation, im.StreamUser, error) {
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

func (d *domain) Send(_ context.Context, _ im.Actor, _ im.ConversationRef, draft im.Draft) (im.Sent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, draft)
	return im.Sent{Message: im.Message{ID: 42}}, d.fails
}

// clock is a clock that a test sets.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(d.Milliseconds()) }
func newClock() *clock                   { c := &clock{}; c.at.Store(time.Now().UnixMilli()); return c }

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

// sink collects what a reader writes. While it is held, writes wait.
type sink struct {
	mu   sync.Mutex
	got  bytes.Buffer
	hold chan struct{} // nil: no write waits
}

func (s *sink) Write(p []byte) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got.Write(p)
	return nil
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
	go func() {
		defer close(s.done)
		s.end, s.err = r.Serve(context.Background(), &s.sink)
	}()
	return s
}

func (s *served) wait(t testing.TB) string {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		t.Fatal("the reader does not end")
	}
	return s.sink.got.String()
}

// follow checks what a reader got: ids rise by one, except at gaps, which say how many frames
// are missing. It returns the number of frames, and of those that were lost.
func follow(t testing.TB, got string) (frames, lost int64) {
	t.Helper()
	next := int64(1)
	for block := range strings.SplitSeq(got, "\n\n") {
		event, data := "", ""
		for line := range strings.SplitSeq(block, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				event = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				data = v
			}
		}
		var v struct {
			ID   int64
			Text string
			Lost int64
		}
		if data != "" {
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				t.Fatalf("%q: %v", data, err)
			}
		}
		switch event {
		case "stream.gap":
			next, lost = next+v.Lost, lost+v.Lost
		case "stream.frame":
			if v.ID != next || v.Text != strconv.FormatInt(next, 10) {
				t.Fatalf("frame %d with %q, want %d", v.ID, v.Text, next)
			}
			next, frames = next+1, frames+1
		}
	}
	return frames, lost
}

// TestManyFramesToManyReaders pushes 100,000 frames as fast as it can to 100 readers, one of
// whom is stuck half of the time. The others get every frame, in order, and no reader
// misses one without a gap that counts it.
func TestManyFramesToManyReaders(t *testing.T) {
	frames, readers := testsize.Pick(100_000, 5_000), testsize.Pick(100, 20)
	h := newTestHub(t, Options{StreamBytes: testsize.Pick(4<<20, 256<<10), MaxAttachedPerUser: 1000})
	h.stuck, h.patience = 3*time.Second, time.Minute // the machine may be busy
	id, p := open(t, h)
	hold := make(chan struct{})
	slow := read(t, h, id, as("slow"), Oldest, false, hold)
	var fast []*served
	for range readers - 1 {
		fast = append(fast, read(t, h, id, as("bob"), Oldest, false, nil))
	}
	for i := 1; i <= frames; i++ {
		push(t, p, text(strconv.Itoa(i)))
		if i == frames/2 {
			hold <- struct{}{} // one write
		}
	}
	if _, err := h.End(context.Background(), im.Actor{User: "own"}, id, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range fast {
		if n, lost := follow(t, r.wait(t)); n != int64(frames) || lost != 0 {
			t.Errorf("a reader got %d of %d frames and lost %d", n, frames, lost)
		}
	}
	close(hold)
	n, lost := follow(t, slow.wait(t))
	if n+lost != int64(frames) || lost == 0 {
		t.Errorf("the slow reader got %d frames and lost %d of %d", n, lost, frames)
	}
	t.Logf("the slow reader got %d frames and lost %d", n, lost)
	if !strings.HasSuffix(slow.sink.got.String(), "event: stream.ended\ndata: {\"reason\":\"owner\"}\n\n") {
		t.Error("the slow reader was not told the end")
	}
	if h.bytes.Load() != 0 {
		t.Errorf("%d bytes are left", h.bytes.Load())
	}
}

// TestBuffersAreBounded fills data streams: no buffer exceeds its limit, and all together do
// not exceed theirs.
func TestBuffersAreBounded(t *testing.T) {
	h := newTestHub(t, Options{StreamBytes: 100_000, Bytes: 250_000})
	var ids []im.DataStreamID
	for range 5 {
		id, p := open(t, h)
		ids = append(ids, id)
		for i := range 100 {
			push(t, p, NewPayload(0, Bytes, bytes.Repeat([]byte{byte(i)}, 3000)))
			if n := h.bytes.Load(); n > 250_000 {
				t.Fatalf("all buffers take %d bytes", n)
			}
		}
	}
	for _, id := range ids {
		v, err := h.View(context.Background(), im.Actor{User: "own"}, id)
		if err != nil || v.Next != 101 || v.First < 67 || v.First == v.Next {
			t.Errorf("the buffer has %d to %d, %v", v.First, v.Next, err)
		}
	}
	if l := level([]int{10, 50, 100, 100}, 160); l != 50 {
		t.Errorf("the level is %d, want 50", l)
	}
}

// TestBinaryReaderIsDisconnectedByAGap: the binary form never leaves out a frame silently.
func TestBinaryReaderIsDisconnectedByAGap(t *testing.T) {
	h := newTestHub(t, Options{StreamBytes: 20_000})
	id, p := open(t, h)
	hold := make(chan struct{})
	push(t, p, text("first"))
	r := read(t, h, id, as("bob"), Oldest, true, hold)
	for i := range 200 {
		push(t, p, NewPayload(1, Bytes, bytes.Repeat([]byte{byte(i)}, 1000)))
	}
	close(hold)
	r.wait(t)
	if !errors.Is(r.err, ErrGap) {
		t.Errorf("it ended by %v", r.err)
	}
}

// TestIdleDataStreamsEnd: they end after their idle time, and their end is remembered for a
// minute.
func TestIdleDataStreamsEnd(t *testing.T) {
	c := newClock()
	h := newTestHub(t, Options{Now: c.now})
	id, p := open(t, h)
	r := read(t, h, id, as("bob"), Oldest, false, nil)
	push(t, p, text("1"))
	c.advance(im.DefaultStreamIdle - time.Second)
	h.look(c.now(), over{})
	push(t, p, text("2")) // it is not idle any more
	c.advance(im.DefaultStreamIdle - time.Second)
	h.look(c.now(), over{})
	if err := p.Err(); err != nil {
		t.Fatalf("ended too early: %v", err)
	}
	c.advance(time.Second)
	h.look(c.now(), over{})
	if got := r.wait(t); r.end == nil || r.end.Reason != im.StreamEndedIdle || !strings.Contains(got, `"text":"2"`) {
		t.Errorf("it ended by %v, %v", r.end, r.err)
	}
	if _, err := p.Push(text("3"), false); code(err) != "stream_ended" {
		t.Errorf("pushing to it: %v", err)
	}
	p.Close()
	c.advance(remembered - time.Second)
	h.look(c.now(), over{})
	if v, err := h.View(context.Background(), im.Actor{User: "own"}, id); err != nil || v.End == nil {
		t.Errorf("within a minute: %v", err)
	}
	c.advance(time.Second)
	h.look(c.now(), over{})
	if _, err := h.View(context.Background(), im.Actor{User: "own"}, id); code(err) != "stream_not_found" {
		t.Errorf("after a minute: %v", err)
	}
}

// TestBufferIsDropped: after the end of a data stream its buffer is dropped when its readers
// have read it, after a while if they do not, and at once when the final message is erased or
// the data stream deleted.
func TestBufferIsDropped(t *testing.T) {
	for name, drop := range map[string]func(h *Hub, c *clock, id im.DataStreamID){
		"after a while": func(h *Hub, c *clock, _ im.DataStreamID) {
			c.advance(linger)
			h.look(c.now(), over{})
		},
		"message erased": func(h *Hub, c *clock, _ im.DataStreamID) { h.look(c.now(), over{erased: []im.ID{42}}) },
		"deleted": func(h *Hub, _ *clock, id im.DataStreamID) {
			_ = h.Delete(context.Background(), im.Actor{User: "own"}, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			h := newTestHub(t, Options{Now: c.now})
			v, err := h.Create(context.Background(), im.Actor{User: "own"}, im.DataStreamDraft{Access: im.StreamForMembers, Conversation: &im.ConversationRef{ID: 7}})
			if err != nil {
				t.Fatal(err)
			}
			p := publish(t, h, v.ID, as("own"))
			hold := make(chan struct{})
			r := read(t, h, v.ID, as("bob"), Oldest, false, hold)
			for i := range 100 {
				push(t, p, text(strings.Repeat(strconv.Itoa(i%10), 1000)))
			}
			if _, err := h.End(context.Background(), im.Actor{User: "own"}, v.ID, &im.Draft{}); err != nil {
				t.Fatal(err)
			}
			if h.bytes.Load() == 0 {
				t.Fatal("it was dropped while somebody reads it")
			}
			drop(h, c, v.ID)
			if n := h.bytes.Load(); n != 0 {
				t.Errorf("%d bytes are left", n)
			}
			close(hold)
			if got := r.wait(t); !strings.Contains(got, "stream.gap") || r.end == nil || r.end.Message != 42 {
				t.Errorf("the reader ended with %v, %v", r.end, r.err)
			}
		})
	}
}

// TestLimits: data streams and requests beyond the limits of a user and of all are refused.
func TestLimits(t *testing.T) {
	ctx := context.Background()
	h := newTestHub(t, Options{MaxStreams: 4, MaxStreamsPerUser: 2, MaxReaders: 2, MaxAttachedPerUser: 3, MaxAttached: 5})
	create := func(user im.UserID, admin bool) (View, error) {
		return h.Create(ctx, im.Actor{User: user, Admin: admin}, im.DataStreamDraft{Access: im.StreamForAnyone})
	}
	one, _ := create("own", false)
	two, err := create("own", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create("own", false); code(err) != "too_many_streams" {
		t.Errorf("a third one of a user: %v", err)
	}
	_, _ = create("bob", false)
	if _, err := create("own", true); err != nil {
		t.Errorf("a third one by an admin: %v", err)
	}
	if _, err := create("carol", false); code(err) != "overloaded" {
		t.Errorf("one too many in all: %v", err)
	}
	_ = h.Delete(ctx, im.Actor{User: "own"}, one.ID)
	if _, err := create("carol", false); err != nil {
		t.Errorf("after one has ended: %v", err)
	}

	readOf := func(user im.UserID, id im.DataStreamID) error {
		_, err := h.Read(ctx, as(user), id, Oldest, false)
		return err
	}
	publish(t, h, two.ID, as("own"))
	for i, want := range []string{"<nil>", "<nil>", "too_many_streams"} {
		if err := readOf("own", two.ID); code(err) != want {
			t.Errorf("reader %d of the user: %v, want %s", i, err, want)
		}
	}
	if err := readOf("bob", two.ID); code(err) != "too_many_streams" {
		t.Errorf("a third reader of the data stream: %v", err)
	}
	three, _ := create("dave", true)
	_ = three
	for i := range 3 {
		_ = readOf(im.UserID(fmt.Sprint("user", i)), one.ID)
	}
	if err := readOf("user9", one.ID); code(err) != "overloaded" {
		t.Errorf("one request too many in all: %v", err)
	}
}

// TestRateOfAUser: a request with one frame is refused rather than wait for long; an admin
// has no rate.
func TestRateOfAUser(t *testing.T) {
	h := newTestHub(t, Options{Rate: 1000})
	id, admin := open(t, h)
	for range 20 {
		push(t, admin, text(strings.Repeat("x", 1000)))
	}
	p := publish(t, h, id, as("own"))
	refused := 0
	for range 8 {
		if _, err := p.Push(text(strings.Repeat("x", 3900)), true); err != nil {
			e, ok := im.AsError(err)
			if !ok || e.Code != "rate_limited" || e.RetryAfter <= 0 {
				t.Fatal(err)
			}
			refused++
		}
	}
	if refused < 6 {
		t.Errorf("%d of 8 bursts were refused", refused)
	}
}

// TestFailureOfTheStoreIsTriedAgain: a user who has lost the conversation loses their reader,
// although the first look-up fails.
func TestFailureOfTheStoreIsTriedAgain(t *testing.T) {
	d := &domain{members: map[im.UserID]bool{"own": true, "bob": true}}
	h := newTestHub(t, Options{Domain: d})
	v, err := h.Create(context.Background(), im.Actor{User: "own"}, im.DataStreamDraft{Access: im.StreamForMembers, Conversation: &im.ConversationRef{ID: 7}})
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, h, v.ID, as("bob"), Oldest, false, nil)
	d.mu.Lock()
	d.fails = errors.New("failed")
	delete(d.members, "bob")
	d.mu.Unlock()
	h.Committed(im.Commit{Events: []im.Event{{Type: im.MemberRemoved, Conversation: 7, User: "bob"}}})
	time.Sleep(10 * time.Millisecond)
	d.mu.Lock()
	d.fails = nil
	d.mu.Unlock()
	r.wait(t)
	if code(r.err) != "stream_not_found" {
		t.Errorf("it ended by %v", r.err)
	}
}

// TestEndingAtOnce: many requests end a data stream with the same message at once: it is sent
// under one client_id.
func TestEndingAtOnce(t *testing.T) {
	d := &domain{members: map[im.UserID]bool{"own": true}}
	h := newTestHub(t, Options{Domain: d})
	v, err := h.Create(context.Background(), im.Actor{User: "own"}, im.DataStreamDraft{Access: im.StreamForMembers, Conversation: &im.ConversationRef{ID: 7}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := h.End(context.Background(), im.Actor{User: "own"}, v.ID, &im.Draft{}); err != nil || got.End.Message != 42 {
				t.Errorf("%v, %v", got.End, err)
			}
		})
	}
	all.Wait()
	for _, draft := range d.sent {
		if draft.ClientID != d.sent[0].ClientID || draft.ClientID == "" {
			t.Errorf("sent as %q and %q", draft.ClientID, d.sent[0].ClientID)
		}
	}
}
