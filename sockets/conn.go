package sockets

import (
	"crypto/tls"
	"net"
	"time"
)

// Conn is a TCP connection that is written without waiting, perhaps through TLS. One
// goroutine at a time may use it, except for [Conn.Interrupt].
type Conn struct {
	socket *socket
	secure *tls.Conn // nil without TLS
	below  *below    // what secure writes to
	token  uint64    // of the watch; 0 for none
}

// New returns a connection over TCP.
func New(tcp *net.TCPConn) (*Conn, error) {
	s, err := newSocket(tcp)
	if err != nil {
		return nil, err
	}
	return &Conn{socket: s}, nil
}

// newSecure returns a connection through TLS, whose handshake is done.
func newSecure(c *tls.Conn, b *below) (*Conn, error) {
	s, err := newSocket(b.TCPConn)
	if err != nil {
		return nil, err
	}
	b.socket = s
	return &Conn{socket: s, secure: c, below: b}, nil
}

// TryWrite writes without waiting. It returns how many bytes the connection has taken, and
// whether it is full: then nothing should be written but by [Conn.Await]. It does not keep or
// change p.
func (c *Conn) TryWrite(p []byte) (n int, full bool, err error) {
	if c.secure == nil {
		n, err = c.socket.tryWrite(p)
		return n, n < len(p), err
	}
	if err := c.below.flush(); err != nil || len(c.below.held) > 0 {
		return 0, true, err
	}
	n, err = c.secure.Write(p)
	return n, len(c.below.held) > 0, err
}

// Await calls try, which may call TryWrite, until it returns true, each time the connection
// may take more, and returns when all was written. The error is [os.ErrDeadlineExceeded] if
// that takes until a time or if [Conn.Interrupt] is called.
func (c *Conn) Await(until time.Time, try func() bool) error {
	if c.secure == nil {
		return c.socket.await(until, try)
	}
	var failed error
	done := false
	err := c.socket.await(until, func() bool {
		if failed = c.below.flush(); failed != nil {
			return true
		}
		if len(c.below.held) == 0 && !done {
			done = try()
		}
		return done && len(c.below.held) == 0
	})
	if failed != nil {
		return failed
	}
	return err
}

// Interrupt makes Await return, and all later calls of it. It may be called from any goroutine.
func (c *Conn) Interrupt() { c.socket.interrupt() }

// Notify has gone called when the client has closed its end, or the connection is broken. It
// is called at most once, by another goroutine, and must not block. It may still be called
// shortly after Close. Notify may be called once.
func (c *Conn) Notify(gone func()) error {
	token, err := watch(c.socket.raw, gone)
	c.token = token
	return err
}

// Close closes the connection. What it has not taken yet is lost.
func (c *Conn) Close() error {
	if c.token != 0 {
		unwatch(c.token)
	}
	if c.secure != nil {
		return c.secure.Close()
	}
	return c.socket.tcp.Close()
}
