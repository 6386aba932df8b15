package im

import (
	"context"
	"sync"
	"time"
)

// inSteps calls fn, each time in a transaction of its own, until it reports that there is no
// more to do. fn checks the permissions each time; if they are lost on the way, the work
// done so far stays.
func (s *Service) inSteps(ctx context.Context, fn func(Tx) (more bool, err error)) error {
	finishing := WithBulk(context.WithoutCancel(ctx))
	for {
		more, err := write(ctx, s, fn)
		if err != nil || !more {
			return err
		}
		// A client that disconnects now must not leave the work half done.
		ctx = finishing
	}
}

const (
	// mostInLine is the maximum number of waiting long requests of one user.
	mostInLine = 64
	// longestInLine is the longest wait. The server closes a connection whose answer comes too late.
	longestInLine = 10 * time.Second
)

// inLine runs the long requests of each user one after another. If their steps alternated, all of
// them would end late.
type inLine struct {
	longest time.Duration // the longest wait
	mu      sync.Mutex
	lines   map[UserID]*workLine
}

type workLine struct {
	busy    chan struct{} // has an element while a request runs
	wanting int
}

// enter waits for the earlier requests of the user. The caller must call done at the end. The error
// is [Unavailable] if too many requests wait or this one has waited too long, or the context's
// cause.
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
	timer := time.NewTimer(l.longest)
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
	err := Refuse(Unavailable, "overloaded", "too many of your long requests are waiting")
	err.RetryAfter = time.Second
	return err
}

// eachInSteps works through a list in transactions of bounded length. some processes the first
// items of rest, at least one, and returns a result for each; earlier are the previous results. A
// refusal in the first step is returned, and so is any other error in any step. A refusal in a
// later step is converted by failed into the result of every remaining item, because the earlier
// steps stay committed.
func eachInSteps[R any](ctx context.Context, s *Service, items []string, some func(tx Tx, rest []string, earlier []R) ([]R, error),
	failed func(item string, err error) R,
) ([]R, error) {
	ctx = WithBulk(ctx)
	finishing := context.WithoutCancel(ctx)
	results := make([]R, 0, len(items))
	for len(results) < len(items) {
		step, err := write(ctx, s, func(tx Tx) ([]R, error) {
			return some(tx, items[len(results):], results)
		})
		if err == nil {
			results = append(results, step...)
			// A client that disconnects from here on must not leave the work half done.
			ctx = finishing
			continue
		}
		if _, refused := AsError(err); !refused || len(results) == 0 {
			return nil, err
		}
		for _, item := range items[len(results):] {
			results = append(results, failed(item, err))
		}
	}
	return results, nil
}
