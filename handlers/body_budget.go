package handlers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/im"
)

// errOverloaded refuses a request while there is no memory for its body, or no turn for its upload
// or download.
var errOverloaded = im.Refuse(im.Unavailable, "overloaded", "too many request bodies, uploads or downloads are in progress")

// decodeWait is the time that a request waits for memory to decode its body.
const decodeWait = time.Second

// bodyBudgets bounds the memory that bodies take.
type bodyBudgets struct {
	reading  share
	decoding *budget
	wait     time.Duration // the longest wait for room to decode
}

// The bounds, in bytes. Reading takes the size of the buffer of a body beyond readingFree, which a
// connection takes anyway. Decoding takes up to ten times the length of the body.
const (
	readingBytes         = 64 << 20
	readingBytesPerUser  = readingBytes / 8
	readingFree          = 16 << 10
	decodingBytes        = 16 << 20
	decodingBytesPerUser = decodingBytes / 8
)

// read reads a body to its end. announced is its Content-Length, or -1. read takes memory as the
// bytes arrive, so a client that announces much and sends little blocks nobody. The error is
// [errOverloaded] if there is no memory, or that of from.
func (b *bodyBudgets) read(from io.Reader, user im.UserID, announced int) (body []byte, err error) {
	held := 0
	defer func() { b.reading.release(user, held) }()
	size := readingFree
	if announced >= 0 {
		size = min(size, announced+1) // one more, to see EOF
	}
	body = make([]byte, 0, max(size, bytes.MinRead))
	for {
		if len(body) == cap(body) {
			size := 4 * cap(body)
			if announced >= len(body) {
				size = min(size, announced+bytes.MinRead) // more, to see EOF
			}
			if !b.reading.take(user, size-cap(body)) {
				return nil, errOverloaded
			}
			held += size - cap(body)
			body = append(make([]byte, 0, size), body...)
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// budget is a number of bytes that requests share. The requests of one user can have only a
// part of it. Requests are served in the order of their arrival; a request of a user who has
// reached their limit is skipped.
type budget struct {
	mu      sync.Mutex
	size    int
	perUser int
	used    int
	usedBy  map[im.UserID]int
	waiting []*waiter
}

type waiter struct {
	user  im.UserID
	bytes int
	turn  chan struct{} // closed when it has the bytes
}

func newBudget(size, perUser int) *budget {
	return &budget{size: size, perUser: perUser, usedBy: make(map[im.UserID]int)}
}

// acquire takes bytes, at most the limit of a user. It waits for them up to longest and
// then returns [errOverloaded], or the error of ctx. After nil the caller must release as
// many bytes.
func (b *budget) acquire(ctx context.Context, user im.UserID, bytes int, longest time.Duration) error {
	w := &waiter{user, min(bytes, b.perUser), make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, w)
	b.next()
	b.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	default:
	}

	// While the process stands still, nobody returns bytes, so that time does not count.
	late := make(chan struct{})
	defer awake.AfterFunc(longest, func() { close(late) })()
	var err error
	select {
	case <-w.turn:
		return nil
	case <-late:
		err = errOverloaded
	case <-ctx.Done():
		err = ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, w); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	} else {
		b.give(w.user, -w.bytes) // it got them in the meantime
	}
	b.next()
	return err
}

// release returns bytes.
func (b *budget) release(user im.UserID, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.give(user, -min(bytes, b.perUser))
	b.next()
}

// give counts bytes for a user. The caller holds mu.
func (b *budget) give(user im.UserID, bytes int) {
	b.used += bytes
	if b.usedBy[user] += bytes; b.usedBy[user] == 0 {
		delete(b.usedBy, user)
	}
}

// next serves waiting requests while there are bytes. The caller holds mu.
func (b *budget) next() {
	for i := 0; i < len(b.waiting); {
		w := b.waiting[i]
		switch {
		case b.usedBy[w.user]+w.bytes > b.perUser:
			i++
		case b.used+w.bytes > b.size:
			return
		default:
			b.give(w.user, w.bytes)
			close(w.turn)
			b.waiting = slices.Delete(b.waiting, i, i+1)
		}
	}
}

// share is a number of bytes of which one user can have only a part.
type share struct {
	mu      sync.Mutex
	free    int
	perUser int
	takenBy map[im.UserID]int
}

// take takes bytes, or returns false. It does not wait: two requests that each hold some bytes and
// wait for more would wait for each other.
func (s *share) take(user im.UserID, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes > s.free || s.takenBy[user]+bytes > s.perUser {
		return false
	}
	s.free -= bytes
	s.takenBy[user] += bytes
	return true
}

// release returns bytes.
func (s *share) release(user im.UserID, bytes int) {
	if bytes == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += bytes
	if s.takenBy[user] -= bytes; s.takenBy[user] == 0 {
		delete(s.takenBy, user)
	}
}
