package sockets

import (
	"crypto/tls"
	"net"
	"time"
)

// Conn is a TCP connection with non-blocking writes, possibly through TLS. One goroutine at a time
// may use it, except for [Conn.Interrupt].
type Conn struct {
	socket *socket
	secure *tls.Conn // nil without TLS
	below  *below    // what secure writes to
	token  uint64    // of the watch; 0 for none
}

// New returns a connection over TCP. Closing it closes tcp.
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

// TryWrite writes without blocking. It returns the number of bytes that the connection has
// accepted, and whether it is full: from then on, write only in [Conn.Await]. It does not keep or
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

// Await calls try, which may call TryWrite, each time the connection may accept more, until try
// returns true and, with TLS, the socket has accepted all that was written. The error wraps
// [os.ErrDeadlineExceeded] if that has not happened by the deadline, or if [Conn.Interrupt] was
// called.
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

// Interrupt makes the current call of Await return, and every later one at once. It may be called
// from any goroutine.
func (c *Conn) Interrupt() { c.socket.interrupt() }

// Notify arranges for gone to be called when the client has closed its end or the connection is
// broken. gone is called at most once, by another goroutine, possibly shortly after Close, and must
// not block. Notify may be called once.
func (c *Conn) Notify(gone func()) error {
	token, err := watch(c.socket.raw, gone)
	c.token = token
	return err
}

// Close closes the connection. Data that it has not accepted yet is lost.
func (c *Conn) Close() error {
	if c.token != 0 {
		unwatch(c.token)
	}
	if c.secure != nil {
		return c.secure.Close()
	}
	return c.socket.tcp.Close()
}
