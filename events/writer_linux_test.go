package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/loopback"
	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/sockets"
)

// reader is the client's end of a stream over a real socket.
type reader struct {
	net.Conn
	server *net.TCPConn // the other end
	ended  chan error   // the error with which the stream ended
	frames atomic.Int64 // events of messages
}

// overSocket opens a stream of a user, written by a writer of the hub to a socket.
func overSocket(t testing.TB, h *Hub, user im.UserID, timeout time.Duration) *reader {
	t.Helper()
	client, server := loopback.Pair(t)
	conn, err := sockets.New(server)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: user}})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{Conn: client, server: server, ended: make(chan error, 1)}
	sub.ServeConn(conn, timeout, func(err error) { r.ended <- err })
	return r
}

// count reads the stream and counts its messages until the end of the test.
func (r *reader) count(t testing.TB) {
	var reading sync.WaitGroup
	reading.Go(r.read)
	t.Cleanup(func() {
		_ = r.Close()
		reading.Wait() // later tests count goroutines and bytes
	})
}

func (r *reader) read() {
	buf, before := make([]byte, 32<<10), []byte(nil)
	mark := []byte("event: message.created\n")
	for {
		n, err := r.Read(buf)
		got := append(before, buf[:n]...)
		r.frames.Add(int64(bytes.Count(got, mark)))
		// The rest may be the beginning of a mark.
		rest := got[max(len(got)-len(mark)+1, bytes.LastIndex(got, mark)+1):]
		before = append([]byte(nil), rest...)
		if err != nil {
			return
		}
	}
}

// A client that does not read stops no other stream of its writer, has a goroutine of its own while
// the server waits for it, and loses its stream after the timeout.
func TestStalledClientStopsNoOther(t *testing.T) {
	streams := testsize.Pick(1000, 200)
	m := newModel()
	h := newTestHub(t, m, Options{})
	users := make([]im.UserID, streams)
	for i := range users {
		users[i] = im.UserID(fmt.Sprint("user", i))
	}
	m.create(1, users...)
	await.Until(t, "the group is dispatched", func() bool { return h.position() == 1 })
	readers := make([]*reader, streams)
	for i, u := range users {
		timeout := time.Hour
		if i == 0 {
			timeout = time.Second
		}
		readers[i] = overSocket(t, h, u, timeout)
	}
	stalled, others := readers[0], readers[1:]
	_ = stalled.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = stalled.server.SetWriteBuffer(4 << 10)
	for _, r := range others {
		r.count(t)
	}
	sent := int64(0)
	var reason error
	for reason == nil {
		m.commit(withText(1, im.ID(sent+1), strings.Repeat("x", 4<<10)))
		sent++
		for _, r := range others {
			await.Until(t, "all others have the message", func() bool { return r.frames.Load() >= sent })
		}
		select {
		case reason = <-stalled.ended:
		default:
		}
	}
	if !errors.Is(reason, os.ErrDeadlineExceeded) {
		t.Errorf("the stalled stream ended with %v", reason)
	}
	if n := h.Streams(); n != streams-1 {
		t.Errorf("%d streams are left, want %d", n, streams-1)
	}
	for i, r := range others {
		if n := r.frames.Load(); n != sent {
			t.Errorf("stream %d: %d messages, want %d", i+1, n, sent)
		}
	}
}

// An idle stream has no goroutine and no buffer. The test only counts, so nothing depends on the
// speed of the machine.
func TestIdleStreamIsSmall(t *testing.T) {
	const most = 3 << 10 // bytes, both ends of the connection included
	streams := testsize.Pick(1000, 300)
	m := newModel()
	h := newTestHub(t, m, Options{})
	overSocket(t, h, "first", time.Hour) // starts the watcher of sockets
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	goroutines, before := runtime.NumGoroutine(), heap()
	readers := make([]*reader, streams)
	for i := range readers {
		readers[i] = overSocket(t, h, im.UserID(fmt.Sprint("user", i)), time.Hour)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d idle streams have %d goroutines", streams, n-goroutines)
	}
	perStream := (int64(heap()) - int64(before)) / int64(streams) // negative if garbage of other tests is freed
	t.Logf("%d bytes a stream", perStream)
	if perStream > most {
		t.Errorf("an idle stream takes %d bytes, want at most %d", perStream, most)
	}
	runtime.KeepAlive(readers)
}

// A stream that has written many events at once frees the memory for them.
func TestIdleStreamKeepsNoBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		p := newPipe()
		sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		sub.ServeConn(p, time.Hour, func(error) {})
		synctest.Wait()
		p.block(true)
		for range 100 {
			m.commit(im.Event{Type: im.MessageCreated, To: "a"})
			synctest.Wait()
		}
		p.block(false)
		synctest.Wait()
		sub.mu.Lock()
		defer sub.mu.Unlock()
		if n := max(cap(sub.pooled.left), cap(sub.batch), cap(sub.queue)); n > 8 {
			t.Errorf("the idle stream has room for %d frames", n)
		}
	})
}

// The stream of a client that closes its end is removed although nothing is written to it.
func TestClosedClientIsNoticed(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{Heartbeat: time.Hour})
	for _, how := range []string{"close", "shut down writing", "reset"} {
		r := overSocket(t, h, "a", time.Hour)
		tcp := r.Conn.(*net.TCPConn)
		switch how {
		case "close":
			_ = tcp.Close()
		case "shut down writing":
			_ = tcp.CloseWrite()
		case "reset":
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
		if err := <-r.ended; !errors.Is(err, ErrGone) {
			t.Errorf("%s: the stream ended with %v", how, err)
		}
		if n := h.Streams(); n != 0 {
			t.Errorf("%s: %d streams are left", how, n)
		}
	}
}

// A message that is erased while it waits for a full socket arrives as its tombstone.
func TestErasureReachesFramesOfAFullSocket(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{QueueSize: 10_000})
	m.create(1, "a")
	await.Until(t, "the group is dispatched", func() bool { return h.position() == 1 })
	r := overSocket(t, h, "a", time.Hour)
	_ = r.server.SetWriteBuffer(64 << 10) // fixed from now on; the client's buffer grows only when it reads
	waits := func() bool {                // reports whether the stream waits for a full socket
		for _, s := range h.streamsOf("a") {
			s.mu.Lock()
			n := len(s.queue)
			s.mu.Unlock()
			if n > 32 {
				return true
			}
		}
		return false
	}
	for n := im.ID(100); !waits(); n++ {
		m.commit(withText(1, n, strings.Repeat("x", 64<<10)))
		runtime.Gosched()
	}
	m.commit(withText(1, 11, "secret"))
	revoked := im.Event{Type: im.MessageRevoked, Conversation: 1, MessageID: 11, Message: &im.Message{ID: 11}}
	head := m.commit(revoked)
	await.Until(t, "the erasure is dispatched", func() bool { return h.position() == head })
	all := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(r)
		all <- b
	}()
	await.Until(t, "everything is written", func() bool {
		s := h.streamsOf("a")[0]
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.scheduled && len(s.queue) == 0
	})
	h.Close()
	got := string(<-all)
	if strings.Contains(got, "secret") || !strings.Contains(got, "erased") {
		t.Error("the erased message has arrived, or not its tombstone")
	}
	// The body ends with the last chunk.
	if err := <-r.ended; err != nil || !strings.HasSuffix(got, "\r\n"+lastChunk) {
		t.Errorf("the stream ended with %v and %q", err, got[max(0, len(got)-20):])
	}
}

// Closing the hub does not wait for clients that do not read.
func TestCloseCutsOffStalledClients(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{})
	r := overSocket(t, h, "a", time.Hour)
	e := withText(1, 10, strings.Repeat("x", 1<<20))
	e.To = "a"
	waiting := func() bool {
		s := h.streamsOf("a")[0]
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.interrupt != nil
	}
	for !waiting() {
		m.commit(e)
		runtime.Gosched()
	}
	h.Close()
	if err := <-r.ended; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

// A token ends its stream on time even while the client does not read.
func TestTokenEndsAStalledStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func(before bool) { byWriters = before }(byWriters)
		byWriters = true
		m := newModel()
		h := newTestHub(t, m, Options{})
		c := newClient(t, h, "a", "")
		began := time.Now()
		c.ends = began.Add(40 * time.Second)
		c.connect(newPipe())
		synctest.Wait()
		c.pipe.block(true)
		m.commit(im.Event{Type: im.MessageCreated, To: "a"})
		if err := <-c.served; !errors.Is(err, ErrTokenExpired) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d != 40*time.Second {
			t.Errorf("ended after %s, want 40s", d)
		}
	})
}

// A client that reads too slowly loses its stream, even if it keeps accepting a few bytes.
func TestTrickleCountsAsAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		p := newPipe()
		sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		sub.ServeConn(trickle{p}, 10*time.Second, func(err error) { ended <- err })
		e := withText(1, 10, strings.Repeat("x", 4*chunkSize))
		e.To = "a"
		began := time.Now()
		m.commit(e)
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d > 11*time.Second {
			t.Errorf("ended after %s, want 10s", d)
		}
	})
}

// trickle is a pipe that accepts one byte of a long write per second.
type trickle struct{ *pipe }

func (c trickle) TryWrite(b []byte) (n int, full bool, err error) {
	if len(b) < chunkSize {
		return c.pipe.TryWrite(b)
	}
	n, _, err = c.pipe.TryWrite(b[:1])
	return n, true, err
}

func (c trickle) Await(until time.Time, try func() bool) error {
	for time.Now().Before(until) {
		if try() {
			return nil
		}
		<-time.After(time.Second)
	}
	return os.ErrDeadlineExceeded
}

// A panic while a stream is written ends only that stream.
func TestPanicEndsOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		h := newTestHub(t, m, Options{})
		ended := make(chan error, 2)
		for _, conn := range []Conn{panics{newPipe()}, newPipe()} {
			sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: "a"}})
			if err != nil {
				t.Fatal(err)
			}
			sub.ServeConn(conn, time.Hour, func(err error) { ended <- err })
		}
		m.commit(im.Event{Type: im.MessageCreated, To: "a"})
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("ended with %v", err)
		}
		synctest.Wait()
		if n := h.Streams(); n != 1 {
			t.Errorf("%d streams are left, want 1", n)
		}
	})
}

// panics panics at the first write after the opening.
type panics struct{ *pipe }

func (c panics) TryWrite(b []byte) (n int, full bool, err error) {
	if writes, _ := c.counts(); writes > 0 {
		panic("a write")
	}
	return c.pipe.TryWrite(b)
}
