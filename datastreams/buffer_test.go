package datastreams

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// TestManyFramesToManyReaders pushes 100,000 frames to 100 readers, one of whom is stuck half of
// the time. The others get every frame, in order, and no reader misses a frame without a gap that
// counts it. The publisher stays less than a buffer ahead of the others, and the time that they have
// for the rest does not pass, so the speed of the machine does not matter.
func TestManyFramesToManyReaders(t *testing.T) {
	frames, readers := testsize.Pick(100_000, 5_000), testsize.Pick(100, 20)
	ahead := testsize.Pick(10_000, 500)
	h := newTestHub(t, Options{
		StreamBytes: testsize.Pick(4<<20, 256<<10), MaxAttachedPerUser: 1000, Now: newClock().now,
	})
	h.stuck, h.patience = 3*time.Second, time.Minute // the machine may be busy
	id, p := open(t, h)
	hold := make(chan struct{})
	slow := read(t, h, id, as("slow"), Oldest, false, hold)
	var fast []*served
	for range readers - 1 {
		fast = append(fast, followed(t, h, id, as("bob")))
	}
	for i := 1; i <= frames; i++ {
		push(t, p, text(strconv.Itoa(i)))
		if i == frames/2 {
			hold <- struct{}{} // one write
		}
		if i%(ahead/2) == 0 {
			await.Until(t, "the other readers follow", func() bool {
				return !slices.ContainsFunc(fast, func(r *served) bool { return !r.ended() && r.sink.frames.Load() < int64(i-ahead/2) })
			})
		}
	}
	if _, err := h.End(context.Background(), im.Actor{User: "own"}, id, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range fast {
		r.wait(t)
		if f := r.sink.follower; r.err != nil || f.frames != int64(frames) || f.lost != 0 {
			t.Errorf("a reader got %d of %d frames and lost %d: %v", f.frames, frames, f.lost, r.err)
		}
	}
	close(hold)
	n, lost := follow(t, slow.wait(t))
	if n+lost != int64(frames) || lost == 0 {
		t.Errorf("the slow reader got %d frames and lost %d of %d", n, lost, frames)
	}
	t.Logf("the slow reader got %d frames and lost %d", n, lost)
	if !strings.HasSuffix(slow.sink.got.String(), "event: stream.ended\ndata: {\"reason\":\"owner\"}\n\n") {
		t.Error("the slow reader did not get the end")
	}
	if h.bytes.Load() != 0 {
		t.Errorf("%d bytes are left", h.bytes.Load())
	}
}

// TestStuckIgnoresTheWallClock: a wall clock that is set forward does not make a reader look stuck,
// because a write is timed by the monotonic clock.
func TestStuckIgnoresTheWallClock(t *testing.T) {
	h := newTestHub(t, Options{})
	if !isMonotonic(h.began) {
		t.Errorf("the hub was created at %s by the wall clock", h.began)
	}
	id, p := open(t, h)
	r, err := h.Read(context.Background(), as("bob"), id, Oldest, false)
	if err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	s := &served{sink: sink{hold: hold}, done: make(chan struct{})}
	s.serve(r)
	push(t, p, text("1"))
	await.Until(t, "a write has begun", func() bool { return r.writing.Load() != 0 })
	if began, now := time.Duration(r.writing.Load()), h.age(); began > now {
		t.Errorf("a write began at %v, when the hub was %v old", began, now)
	}
	close(hold)
	p.Close()
	if err := h.Delete(context.Background(), im.Actor{User: "own"}, id); err != nil {
		t.Fatal(err)
	}
	s.wait(t)
}

// TestBuffersAreBounded fills data streams: no buffer exceeds its limit, and all together stay
// within theirs.
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

// TestBinaryReaderIsDisconnectedByAGap: the binary form never omits a frame silently.
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
