package im

import (
	"context"
	"sync"
	"time"
)

// inSteps calls fn in transactions of its own until there is no more to do. Each finds
// out anew whether it may; what was done by then stays if it may not any more.
func (s *Service) inSteps(ctx context.Context, fn func(Tx) (more bool, err error)) error {
	finishing := WithBulk(context.WithoutCancel(ctx))
	for {
		more, err := write(ctx, s, fn)
		if err != nil || !more {
			return err
		}
		// A client that hangs up now must not leave half of it done.
		ctx = finishing
	}
}

const (
	// mostInLine is how many pieces of long work of one user wait for each other.
	mostInLine = 64
	// longestInLine is how long they do: an answer that comes later than the server
	// waits with writing one would be lost.
	longestInLine = 10 * time.Second
)

// inLine has long work of one user done one after another. If each step of all of
// them took turns, all would end when the last one does, and answers would be late
// that could have been given.
type inLine struct {
	mu    sync.Mutex
	lines map[UserID]*workLine
}

type workLine struct {
	busy    chan struct{} // holds one while work is done
	wanting int
}

// enter waits for the work of the user that came before. The caller calls done.
func (l *inLine) enter(ctx context.Context, user UserID) (done func(), err error) {
	l.mu.Lock()
	if l.lines == nil {
		l.lines = make(map[UserID]*workLine)
	}
	line := l.lines[user]
	if line == nil {
		line = &workLine{busy: make(chan struct{}, 1)}
		l.lines[user] = line
	}
	if line.wanting > mostInLine {
		l.mu.Unlock()
		return nil, errTooMuchInLine()
	}
	line.wanting++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if line.wanting--; line.wanting == 0 {
			delete(l.lines, user)
		}
	}
	timer := time.NewTimer(longestInLine)
	defer timer.Stop()
	select {
	case line.busy <- struct{}{}:
		return func() { <-line.busy; leave() }, nil
	case <-timer.C:
		leave()
		return nil, errTooMuchInLine()
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

func errTooMuchInLine() error {
	err := Refuse(Unavailable, "overloaded", "too much of what you asked for is waiting to be done")
	err.RetryAfter = time.Second
	return err
}
