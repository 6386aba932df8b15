package events

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// serveHub serves streams of user "a" over HTTP. It sends the result of each Serve.
func serveHub(t *testing.T, h *Hub, timeout time.Duration) (*httptest.Server, chan error) {
	t.Helper()
	served := make(chan error, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sub, err := h.Subscribe(Subscriber{Actor: im.Actor{User: "a"}})
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		served <- sub.Serve(r.Context(), NewResponseSink(w, timeout))
	}))
	t.Cleanup(srv.Close)
	return srv, served
}

func TestResponseSink(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{})
	srv, served := serveHub(t, h, await.Limit)
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body := bufio.NewReader(res.Body)
	next := func(prefix string) {
		t.Helper()
		for {
			line, err := body.ReadString('\n')
			if err != nil {
				t.Fatalf("waiting for %q: %v", prefix, err)
			}
			if strings.HasPrefix(line, prefix) {
				return
			}
		}
	}
	next("event: ready")
	m.commit(im.Event{Type: im.MessageCreated, To: "a"})
	next("event: message.created")
	// The body ends properly.
	go h.Close()
	if rest, err := io.ReadAll(body); err != nil {
		t.Errorf("after %q: %v", rest, err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// A client that stops reading is dropped after the timeout.
func TestResponseSinkTimeout(t *testing.T) {
	m := newModel()
	h := newTestHub(t, m, Options{})
	srv, served := serveHub(t, h, 500*time.Millisecond)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// More than the buffers of two sockets can hold.
	e := withText(1, 10, strings.Repeat("x", 1<<20))
	e.To = "a"
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case err := <-served:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Serve = %v, want a timeout", err)
			}
			if n := h.Streams(); n != 0 {
				t.Errorf("%d streams left", n)
			}
			return
		case <-t.Context().Done():
			t.Fatal("the stream goes on")
		case <-time.After(time.Millisecond):
			m.commit(e)
		}
	}
}
