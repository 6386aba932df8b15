package handlers

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// errOverloaded is the refusal of a request for which there is no memory now.
var errOverloaded = im.Refuse(im.Unavailable, "overloaded", "too many request bodies are being read")

// decodeWait is how long a request waits for others to be done with their bodies.
const decodeWait = time.Second

// budget is a number of bytes that requests share, of which those of one user may have
// a part only. Who came first is served first, but for who has as much as they may.
type budget struct {
	mu      sync.Mutex
	size    int
	ofUser  int
	used    int
	usedBy  map[im.UserID]int
	waiting []*waiter
}

type waiter struct {
	user  im.UserID
	bytes int
	turn  chan struct{} // closed once it has them
}

func newBudget(size, ofUser int) *budget {
	return &budget{size: size, ofUser: ofUser, usedBy: make(map[im.UserID]int)}
}

// acquire takes bytes, at most all that the user may have, and waits for them no longer
// than that. The error is [errOverloaded] or that of ctx; whoever gets none has to
// release as many.
func (b *budget) acquire(ctx context.Context, user im.UserID, bytes int, longest time.Duration) error {
	w := &waiter{user, min(bytes, b.ofUser), make(chan struct{})}
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
		b.give(w.user, -w.bytes) // it had its turn meanwhile
	}
	b.next()
	return err
}

// release gives bytes back.
func (b *budget) release(user im.UserID, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.give(user, -min(bytes, b.ofUser))
	b.next()
}

// give counts bytes as those of a user. Called with mu held.
func (b *budget) give(user im.UserID, bytes int) {
	b.used += bytes
	if b.usedBy[user] += bytes; b.usedBy[user] == 0 {
		delete(b.usedBy, user)
	}
}

// next gives those who wait what there is. Called with mu held.
func (b *budget) next() {
	for i := 0; i < len(b.waiting); {
		w := b.waiting[i]
		switch {
		case b.usedBy[w.user]+w.bytes > b.ofUser:
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

// share is a number of bytes of which one user may have a part only.
type share struct {
	mu      sync.Mutex
	free    int
	ofUser  int
	takenBy map[im.UserID]int
}

// take takes bytes if they are there, without waiting: whoever has some already might
// wait for another who does so, too.
func (s *share) take(user im.UserID, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes > s.free || s.takenBy[user]+bytes > s.ofUser {
		return false
	}
	s.free -= bytes
	s.takenBy[user] += bytes
	return true
}

// release gives bytes back.
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
