package sockets

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// socket writes to a TCP connection without blocking. One goroutine at a time uses it.
type socket struct {
	tcp *net.TCPConn
	raw syscall.RawConn
	// awaiting is set while await calls its function, with the descriptor in fd and the connection
	// locked.
	awaiting bool
	fd       uintptr

	interrupted atomic.Bool

	// The argument and the result of attempt. They are fields so that a write allocates nothing.
	p       []byte
	n       int
	err     error
	attempt func(fd uintptr) bool
}

func newSocket(tcp *net.TCPConn) (*socket, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{tcp: tcp, raw: raw}
	s.attempt = func(fd uintptr) bool {
		s.n, s.err = writeNow(fd, s.p)
		return true // whatever was written, because false would wait
	}
	return s, nil
}

// tryWrite writes what the socket accepts at once, and returns the number of bytes.
func (s *socket) tryWrite(p []byte) (int, error) {
	if s.awaiting {
		return writeNow(s.fd, p)
	}
	s.p = p
	err := s.raw.Write(s.attempt)
	s.p = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}

// await calls try each time the socket may accept more, until try returns true. The error wraps
// [os.ErrDeadlineExceeded] if that has not happened by the deadline, or if interrupt was called.
func (s *socket) await(until time.Time, try func() bool) error {
	if err := s.tcp.SetWriteDeadline(until); err != nil {
		return err
	}
	if s.interrupted.Load() { // it may have been interrupted before the deadline was set
		return os.ErrDeadlineExceeded
	}
	err := s.raw.Write(func(fd uintptr) bool {
		s.awaiting, s.fd = true, fd
		defer func() { s.awaiting = false }()
		return try()
	})
	if err != nil {
		return err
	}
	return s.tcp.SetWriteDeadline(time.Time{})
}

// interrupt makes the current call of await return, and every later one at once. It may be called
// from any goroutine.
func (s *socket) interrupt() {
	s.interrupted.Store(true)
	_ = s.tcp.SetWriteDeadline(time.Unix(1, 0))
}
