package sockets

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// socket writes to a TCP connection without waiting. One goroutine at a time uses it.
type socket struct {
	tcp *net.TCPConn
	raw syscall.RawConn
	// awaiting says that await is calling its function, which has the descriptor in fd and
	// the connection locked.
	awaiting bool
	fd       uintptr

	interrupted atomic.Bool

	// The write that attempt does, and its result. They are fields so that a write allocates
	// nothing.
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
		return true // whatever was written: false would wait
	}
	return s, nil
}

// tryWrite writes what the socket takes at once, and returns how many bytes that were.
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

// await calls try until it returns true, each time the socket may take more. The error is
// [os.ErrDeadlineExceeded] if that takes until a time or if interrupt is called.
func (s *socket) await(until time.Time, try func() bool) error {
	if err := s.tcp.SetWriteDeadline(until); err != nil {
		return err
	}
	if s.interrupted.Load() { // perhaps before the deadline was set
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

// interrupt makes await return, and all later calls of it. It may be called from any goroutine.
func (s *socket) interrupt() {
	s.interrupted.Store(true)
	_ = s.tcp.SetWriteDeadline(time.Unix(1, 0))
}
