package sqlite

import (
	"context"
	"sync"
)

// gate is what reads begin at. While it is shut, new ones wait; those under way
// are left alone, and end within the read limit.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed when the gate opens; nil while it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
	g.opened = nil
}

// pass waits until the gate is open.
func (g *gate) pass(ctx context.Context, closing <-chan struct{}) error {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened == nil {
		return nil
	}
	select {
	case <-opened:
		return nil
	case <-closing:
		return unavailable(errClosed)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
