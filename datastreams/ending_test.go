package datastreams

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// TestIdleDataStreamsEnd: data streams end after their idle time, and their end is remembered for a
// minute.
func TestIdleDataStreamsEnd(t *testing.T) {
	c := newClock()
	h := newTestHub(t, Options{Now: c.now})
	id, p := open(t, h)
	r := read(t, h, id, as("bob"), Oldest, false, nil)
	push(t, p, text("1"))
	c.advance(im.DefaultStreamIdle - time.Second)
	h.look(c.now(), over{})
	push(t, p, text("2")) // it is no longer idle
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
				t.Fatal("it was dropped while a reader was using it")
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

// TestEndIgnoresTheWallClock: a wall clock that is set forward does not cost readers the rest of a
// buffer, and does not make the hub forget how a data stream ended, because both times have a
// monotonic reading, and are compared by that.
func TestEndIgnoresTheWallClock(t *testing.T) {
	h := newTestHub(t, Options{})
	id, p := open(t, h)
	push(t, p, text("1"))
	if _, err := h.End(context.Background(), im.Actor{User: "own"}, id, nil); err != nil {
		t.Fatal(err)
	}
	s, err := h.find(id)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, at := range map[string]time.Time{"the end": s.endedAt, "the time to drop the buffer": s.dropAt} {
		if !isMonotonic(at) {
			t.Errorf("%s is %s by the wall clock", what, at)
		}
	}
}

// TestEndingAtOnce: many requests end a data stream with the same message at once: all sends have
// the same client_id.
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

// waits waits until a goroutine waits for a mutex in a function of this package.
func waits(t *testing.T, function string) {
	t.Helper()
	await.Until(t, "a goroutine waits in "+function, func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if before, _, found := strings.Cut(stack, "datastreams."+function+"("); found &&
				strings.Contains(before, "sync.(*Mutex).Lock") && !strings.Contains(before, "datastreams.(*") {
				return true
			}
		}
		return false
	})
}

// TestFrameBeforeTheIdleEnd: a data stream that was found idle goes on if a frame is pushed
// before it has ended.
func TestFrameBeforeTheIdleEnd(t *testing.T) {
	c := newClock()
	h := newTestHub(t, Options{Now: c.now})
	id, p := open(t, h)
	s, err := h.find(id)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	c.advance(im.DefaultStreamIdle)
	looked := make(chan struct{})
	go func() {
		h.look(c.now(), over{})
		close(looked)
	}()
	waits(t, "(*Hub).look")
	h.mu.Lock() // which ending needs
	s.mu.Unlock()
	waits(t, "(*Hub).endIf")
	push(t, p, text("1"))
	h.mu.Unlock()
	<-looked
	if err := p.Err(); err != nil {
		t.Errorf("a frame was taken, and the data stream ended: %v", err)
	}
}

// TestDroppedFinalMessage: only its sender learns of a final message that the pre-send hook
// dropped.
func TestDroppedFinalMessage(t *testing.T) {
	ctx := context.Background()
	var mu sync.Mutex
	var notices []Notice
	h := newTestHub(t, Options{
		Domain: &domain{members: map[im.UserID]bool{"own": true, "bob": true}, drops: true},
		Publish: func(n Notice) {
			mu.Lock()
			defer mu.Unlock()
			notices = append(notices, n)
		},
	})
	v, err := h.Create(ctx, im.Actor{User: "own"}, im.DataStreamDraft{
		Access: im.StreamForMembers, Conversation: &im.ConversationRef{ID: 7}, Publishers: []im.UserID{"bob"},
	})
	if err != nil {
		t.Fatal(err)
	}
	readers := map[im.UserID]*served{"own": read(t, h, v.ID, as("own"), Oldest, false, nil), "bob": read(t, h, v.ID, as("bob"), Oldest, false, nil)}
	pushing := publish(t, h, v.ID, as("bob"))
	if _, err := h.End(ctx, im.Actor{User: "own"}, v.ID, &im.Draft{}); err != nil {
		t.Fatal(err)
	}
	want := map[im.UserID]End{"own": {Reason: im.StreamEndedByMessage, Message: 42}, "bob": {Reason: im.StreamEndedByOwner}}
	is := func(who string, e *End, want End) {
		t.Helper()
		if e == nil || e.Reason != want.Reason || e.Message != want.Message {
			t.Errorf("%s: it ended with %+v, want %+v", who, e, want)
		}
	}
	for user, r := range readers {
		r.wait(t)
		is(string(user)+" reads", r.end, want[user])
		view, err := h.View(ctx, im.Actor{User: user}, v.ID)
		if err != nil {
			t.Fatal(err)
		}
		is(string(user)+" looks", view.End, want[user])
	}
	if err := pushing.Err(); err == nil || strings.Contains(err.Error(), "message") {
		t.Errorf("bob pushes: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(notices) != 3 || notices[1].Not != "own" || !slices.Equal(notices[2].To, []im.UserID{"own"}) {
		t.Fatalf("published %+v", notices)
	}
	is("the others", notices[1].End, want["bob"])
	is("the sender", notices[2].End, want["own"])
}
