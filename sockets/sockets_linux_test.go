package sockets

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
)

// patience is the time that a test waits for something that should happen soon.
const patience = time.Minute

// taken returns a connection that was taken from a server, after the header of a response, and
// the client's end of it.
func taken(t *testing.T, secure bool) (*Conn, net.Conn) {
	t.Helper()
	conns := make(chan *Conn, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !CanTake(r) {
			t.Error("the connection cannot be taken")
			return
		}
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusOK)
		c, err := Take(w, patience)
		if err != nil {
			t.Error(err)
		}
		conns <- c
	}))
	srv.Config.ConnContext = ConnContext
	if secure {
		srv.Listener = Listener(srv.Listener)
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	client, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		client = tls.Client(client, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a server of the test
	}
	t.Cleanup(func() { _ = client.Close() })
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(patience))
	header := make([]byte, 0, 512)
	for one := make([]byte, 1); !bytes.HasSuffix(header, []byte("\r\n\r\n")); header = append(header, one...) {
		if _, err := io.ReadFull(client, one); err != nil {
			t.Fatal(err)
		}
	}
	conn := <-conns
	if conn == nil {
		t.FailNow()
	}
	return conn, client
}

func bothKinds(t *testing.T, test func(t *testing.T, secure bool)) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { test(t, secure) })
	}
}

// fill writes until the connection is full, and returns the bytes that it has accepted.
func fill(t *testing.T, c *Conn) []byte {
	t.Helper()
	var all []byte
	for i := 0; ; i++ {
		p := bytes.Repeat([]byte{byte(i)}, 50_000)
		n, full, err := c.TryWrite(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p[:n]...)
		if full {
			return all
		}
	}
}

// A full connection accepts nothing more and does not block the writer. Once its client reads again
// it accepts the rest, and everything arrives in order.
func TestFullConnection(t *testing.T) {
	bothKinds(t, func(t *testing.T, secure bool) {
		c, client := taken(t, secure)
		var want []byte
		for { // the kernel may make some room between two writes
			want = append(want, fill(t, c)...)
			more := []byte("more")
			n, full, err := c.TryWrite(more)
			if err != nil || full != (n < len(more)) {
				t.Fatalf("a full connection: %d bytes, full %t, %v", n, full, err)
			}
			if want = append(want, more[:n]...); n == 0 {
				break
			}
		}
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(client) // fails because TLS was not closed properly
			got <- all
		}()
		rest := bytes.Repeat([]byte("rest"), 100_000)
		want = append(want, rest...)
		err := c.Await(time.Now().Add(patience), func() bool {
			n, full, err := c.TryWrite(rest)
			if err != nil {
				t.Error(err)
				return true
			}
			rest = rest[n:]
			return !full && len(rest) == 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if all := <-got; !bytes.Equal(all, want) {
			t.Errorf("%d bytes have arrived, want the %d that were written", len(all), len(want))
		}
	})
}

// Await returns at its deadline, and at once after it was interrupted.
func TestAwaitEnds(t *testing.T) {
	bothKinds(t, func(t *testing.T, secure bool) {
		c, client := taken(t, secure)
		want := fill(t, c)
		never := func() bool { return false }
		if err := c.Await(time.Now().Add(50*time.Millisecond), never); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("at the deadline: %v", err)
		}
		all := make([]byte, len(want))
		read := make(chan error, 1)
		go func() { _, err := io.ReadFull(client, all); read <- err }()
		if err := c.Await(time.Now().Add(patience), func() bool { return true }); err != nil {
			t.Errorf("after the deadline of an earlier call: %v", err)
		}
		if err := <-read; err != nil || !bytes.Equal(all, want) {
			t.Errorf("%v after the deadline, or the wrong bytes", err)
		}
		fill(t, c)
		ended := make(chan error, 1)
		go func() { ended <- c.Await(time.Now().Add(time.Hour), never) }()
		c.Interrupt()
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("interrupted: %v", err)
		}
		if err := c.Await(time.Now().Add(time.Hour), never); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after it was interrupted: %v", err)
		}
	})
}

func TestNoticesAClosedClient(t *testing.T) {
	bothKinds(t, func(t *testing.T, secure bool) {
		for _, when := range []string{"before", "after"} {
			c, client := taken(t, secure)
			var gone atomic.Int32
			if when == "before" {
				_ = client.Close()
			}
			if err := c.Notify(func() { gone.Add(1) }); err != nil {
				t.Fatal(err)
			}
			if when == "after" {
				time.Sleep(5 * time.Millisecond) // gone must not be called for idle connections
				if gone.Load() != 0 {
					t.Error("gone was called for an open connection")
				}
				_ = client.Close()
			}
			await.Until(t, "gone is called", func() bool { return gone.Load() == 1 })
			if err := c.Close(); err != nil && !secure { // TLS cannot send its close_notify
				t.Error(err)
			}
		}
	})
}

// A closed connection is no longer watched, because its descriptor may already belong to another
// one.
func TestWatchEndsWithItsConnection(t *testing.T) {
	before := watchedNow(t)
	for range 20 {
		c, client := taken(t, false)
		var gone atomic.Bool
		if err := c.Notify(func() { gone.Store(true) }); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		other, otherClient := taken(t, false)
		var otherGone atomic.Bool
		if err := other.Notify(func() { otherGone.Store(true) }); err != nil {
			t.Fatal(err)
		}
		_ = otherClient.Close()
		await.Until(t, "gone is called for the other client", otherGone.Load)
		if gone.Load() {
			t.Error("gone was called for a closed connection")
		}
		_, _ = other.Close(), client.Close()
	}
	if n := watchedNow(t); n != before {
		t.Errorf("%d connections are watched, want %d", n, before)
	}
}

// watchedNow returns the number of watched connections.
func watchedNow(t *testing.T) int {
	t.Helper()
	w, err := theWatcher()
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watched)
}

func TestWriteToAClosedClient(t *testing.T) {
	bothKinds(t, func(t *testing.T, secure bool) {
		c, client := taken(t, secure)
		_ = client.Close()
		await.Until(t, "a write fails", func() bool {
			_, _, err := c.TryWrite([]byte("x"))
			return err != nil
		})
		_ = c.Close()
	})
}

func TestCannotBeTaken(t *testing.T) {
	known := func(major, minor int, c net.Conn) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.ProtoMajor, r.ProtoMinor = major, minor
		return r.WithContext(ConnContext(t.Context(), c))
	}
	one, _ := net.Pipe()
	for name, r := range map[string]*http.Request{
		"HTTP/2":                       known(2, 0, &net.TCPConn{}),
		"HTTP/1.0, which cannot chunk": known(1, 0, &net.TCPConn{}),
		"not TCP":                      known(1, 1, one),
		"TLS without our listener":     known(1, 1, tls.Server(&net.TCPConn{}, nil)),
		"an unknown connection":        httptest.NewRequest(http.MethodGet, "/", nil),
	} {
		if CanTake(r) {
			t.Errorf("%s: CanTake", name)
		}
	}
	if !CanTake(known(1, 1, &net.TCPConn{})) || !CanTake(known(1, 1, tls.Server(&below{}, nil))) {
		t.Error("HTTP/1.1 over TCP or our TLS: not CanTake")
	}
}

// A write does not allocate.
func TestWritesDoNotAllocate(t *testing.T) {
	c, client := taken(t, false)
	go func() { _, _ = io.Copy(io.Discard, client) }()
	p := []byte("a frame")
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := c.TryWrite(p); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a write", n)
	}
}
