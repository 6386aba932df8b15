// Package loopback connects tests and benchmarks of streams through real sockets.
package loopback

import (
	"net"
	"testing"
	"time"
)

// Pair returns the ends of a TCP connection over the loopback interface. It closes the reading
// end when the test ends. The caller must close the writing end, as a server does.
func Pair(tb testing.TB) (reading, writing *net.TCPConn) {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := new(net.Dialer).DialContext(tb.Context(), "tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	server, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	return client.(*net.TCPConn), server.(*net.TCPConn)
}

// Sink writes to a connection with a deadline for each write, as a response does.
type Sink struct{ Conn net.Conn }

// Write writes all of p within 10 seconds.
func (s Sink) Write(p []byte) error {
	if err := s.Conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := s.Conn.Write(p)
	return err
}

// Flush does nothing: writes are not buffered.
func (s Sink) Flush() error { return nil }
