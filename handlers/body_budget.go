package handlers

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// errOverloaded refuses a request while there is no memory for its body, or no turn for its upload
// or download.
var errOverloaded = im.Refuse(im.Unavailable, "overloaded", "too many request bodies, uploads or downloads are in progress")

// decodeWait is the time that a request waits for memory to decode its body.
const decodeWait = time.Second

// budget is a number of bytes that requests share. The requests of one user can have only a
// part of it. They are served in order of arrival; a request of a user who has reached
// their limit is skipped.
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

	timer := time.NewTimer(longest)
	defer timer.Stop()
	var err error
	select {
	case <-w.turn:
		return nil
	case <-timer.C:
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
