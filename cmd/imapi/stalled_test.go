package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
)

// deafConn is a connection that can stop reading.
type deafConn struct {
	net.Conn
	mu      sync.Mutex
	hearing chan struct{} // closed while the connection reads
}

func (c *deafConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	hearing := c.hearing
	c.mu.Unlock()
	<-hearing
	return c.Conn.Read(p)
}

// stop makes it stop reading, and returns a function that makes it read again.
func (c *deafConn) stop() (goOn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hearing := make(chan struct{})
	c.hearing = hearing
	return sync.OnceFunc(func() { close(hearing) })
}

// TestConnectingWhileTheServerStandsStill checks that a server that stands still after it has read
// the beginning of a request answers it afterwards. In a short run it does not stand still for long.
func TestConnectingWhileTheServerStandsStill(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	const header = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, part := range []string{header[:16], header[16:]} {
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
		if part[0] == 'G' {
			s.metric("imapi_streams") // by this answer, the server has read the part that came before
			s.standStill(testsize.Pick(12*time.Second, time.Second))
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("answered %s", res.Status)
	}
}

// TestClientThatStopsReading checks that an HTTP/2 connection whose client stops reading
// does not keep its streams. Ending a stream does not unblock the connection that all of
// them share, so the connection itself must end.
func TestClientThatStopsReading(t *testing.T) {
	t.Parallel()
	const streams = 8
	s := startServer(t, "--max-message-bytes", "262144")
	step := steps.Begin(t)
	step("open the streams")
	alice, bob := s.device("alice", "phone"), s.device("bob", "")

	var conn *deafConn
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
			if conn != nil {
				t.Error("the streams use more than one connection")
			}
			conn = &deafConn{Conn: c, hearing: make(chan struct{})}
			close(conn.hearing)
			return conn, nil
		},
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{}, streams)
	for i := range streams {
		res, err := (&http.Client{Transport: transport}).Do(bob.request(ctx, http.MethodGet, "/v1/events", ""))
		if err != nil {
			t.Fatal(err)
		}
		if res.ProtoMajor != 2 {
			t.Fatalf("stream %d is %s", i, res.Proto)
		}
		go func() {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			ended <- struct{}{}
		}()
	}
	step("the client stops reading")
	goOn := conn.stop()
	defer goOn()
	if n := s.metric("imapi_streams"); n != streams {
		t.Fatalf("%v streams", n)
	}

	step("send more than all buffers hold")
	text := strings.Repeat("x", 200<<10)
	began := time.Now()
	for i := range 24 {
		alice.send("@bob", fmt.Sprint(i, text), "")
	}
	// It takes several times 10 s, because the kernel may accept some more bytes each time.
	await.Until(t, "the streams have ended", func() bool { return s.metric("imapi_streams") == 0 })
	t.Logf("the streams were ended %v after it began to send", time.Since(began).Round(time.Millisecond))

	step("the client reads again")
	goOn()
	late := time.After(patience)
	for range streams {
		select {
		case <-ended:
		case <-late:
			t.Fatal("the connection is still open")
		}
	}
}
