package sockets

import (
	"net"
	"time"
)

// Listener returns a listener that accepts the TCP connections of l. A TLS server must use it
// so that its connections can be taken: TLS cannot continue after half a record, so what the socket
// does not accept at once is held below TLS.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept returns the next connection.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, is := c.(*net.TCPConn); is && supported {
		return &below{TCPConn: tcp}, nil
	}
	return c, nil
}

// below is the connection below TLS. Until it is taken it behaves like any other.
type below struct {
	*net.TCPConn
	socket *socket // nil until it is taken
	held   []byte  // what TLS has written and the socket has not accepted yet
}

// Write writes as the TCP connection does, or, once that is taken, without blocking.
func (b *below) Write(p []byte) (int, error) {
	if b.socket == nil {
		return b.TCPConn.Write(p)
	}
	if err := b.flush(); err != nil {
		return 0, err
	}
	n := 0
	if len(b.held) == 0 {
		var err error
		if n, err = b.socket.tryWrite(p); err != nil {
			return n, err
		}
	}
	b.held = append(b.held, p[n:]...)
	return len(p), nil
}

// SetWriteDeadline sets the deadline of a connection that is not taken. It ignores deadlines of one
// that is taken: its writes do not block, and TLS sets a deadline when it is closed, which would
// undo an interruption.
func (b *below) SetWriteDeadline(t time.Time) error {
	if b.socket != nil {
		return nil
	}
	return b.TCPConn.SetWriteDeadline(t)
}

// flush writes what is held, as far as the socket accepts it.
func (b *below) flush() error {
	if len(b.held) == 0 {
		return nil
	}
	n, err := b.socket.tryWrite(b.held)
	if b.held = b.held[n:]; len(b.held) == 0 {
		b.held = nil // free the memory, because most connections are idle most of the time
	}
	return err
}
