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

// budget is a number of bytes that requests share, who came first being served first.
type budget struct {
	mu      sync.Mutex
	size    int
	used    int
	waiting []*waiter
}

type waiter struct {
	bytes int
	turn  chan struct{} // closed once it has them
}

// acquire takes bytes, at most all that there are, and waits for them no longer than
// that. The error is [errOverloaded] or that of ctx; whoever gets none has to release
// as many.
func (b *budget) acquire(ctx context.Context, bytes int, longest time.Duration) error {
	b.mu.Lock()
	bytes = min(bytes, b.size)
	if len(b.waiting) == 0 && b.used+bytes <= b.size {
		b.used += bytes
		b.mu.Unlock()
		return nil
	}
	w := &waiter{bytes, make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()

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
		b.used -= w.bytes // it had its turn meanwhile
	}
	b.next()
	return err
}

// release gives bytes back.
func (b *budget) release(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= min(bytes, b.size)
	b.next()
}

// next gives those who wait what there is. Called with mu held.
func (b *budget) next() {
	for len(b.waiting) > 0 && b.used+b.waiting[0].bytes <= b.size {
		b.used += b.waiting[0].bytes
		close(b.waiting[0].turn)
		b.waiting = slices.Delete(b.waiting, 0, 1)
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
