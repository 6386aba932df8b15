package sockets

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// supported is true if connections can be taken on this system.
const supported = true

// writeNow writes to a non-blocking descriptor. It returns the number of bytes written, which is
// less than len(p) if the socket is full.
func writeNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case !errors.Is(err, syscall.EINTR):
			return 0, os.NewSyscallError("write", err)
		}
	}
}

// watcher waits for clients to close their ends. The runtime's own poller reports a closed end only
// to a goroutine that reads, which takes one goroutine per connection. This one is an epoll
// instance that the runtime watches, so it takes one goroutine for all connections.
type watcher struct {
	raw syscall.RawConn

	mu      sync.Mutex
	last    uint64
	watched map[uint64]func() // by token
}

// theWatcher is shared by the process, like the runtime's poller. It is created for the first
// connection and never closed.
var theWatcher = sync.OnceValues(newWatcher)

func newWatcher() (*watcher, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // otherwise the runtime would not watch it
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	raw, err := os.NewFile(uintptr(fd), "epoll").SyscallConn()
	if err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	w := &watcher{raw: raw, watched: make(map[uint64]func())}
	go w.run()
	return w, nil
}

// watch arranges for gone to be called when the other end of a socket is closed. The caller must
// call unwatch before it closes the socket.
func watch(socket syscall.RawConn, gone func()) (token uint64, err error) {
	w, err := theWatcher()
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	w.last++
	token = w.last
	w.watched[token] = gone
	w.mu.Unlock()
	// Use the token and not the descriptor, which may belong to another connection by the time its
	// event is read.
	event := syscall.EpollEvent{Events: syscall.EPOLLRDHUP | syscall.EPOLLONESHOT, Fd: int32(token), Pad: int32(token >> 32)}
	add := func(fd uintptr) {
		err = w.control(func(epoll int) error {
			return syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &event)
		})
	}
	if e := socket.Control(add); e != nil {
		err = e
	}
	if err != nil {
		unwatch(token)
		return 0, err
	}
	return token, nil
}

// unwatch ends a watch. Closing the socket removes it from the epoll instance.
func unwatch(token uint64) {
	w, err := theWatcher()
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watched, token)
}

func (w *watcher) control(fn func(epoll int) error) error {
	var failed error
	if err := w.raw.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil {
		return err
	}
	return os.NewSyscallError("epoll_ctl", failed)
}

// run calls the functions of connections that are gone.
func (w *watcher) run() {
	events := make([]syscall.EpollEvent, 128)
	var n int
	var failed error
	wait := func(fd uintptr) bool {
		n, failed = syscall.EpollWait(int(fd), events, 0)
		return n != 0 // n is -1 for an error
	}
	for {
		if err := w.raw.Read(wait); err != nil {
			panic(fmt.Sprintf("epoll: %v", err)) // impossible, because nothing closes it
		}
		if n < 0 {
			if failed == syscall.EINTR {
				continue
			}
			panic(fmt.Sprintf("epoll_wait: %v", failed)) // by the manual, only a bug in this file causes it
		}
		for _, e := range events[:n] {
			w.gone(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

func (w *watcher) gone(token uint64) {
	w.mu.Lock()
	gone := w.watched[token]
	delete(w.watched, token)
	w.mu.Unlock()
	if gone != nil {
		gone()
	}
}
