package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/imapi/imapi/internal/tty"
)

// progress shows the progress of a run: on a terminal in one line that is rewritten, elsewhere in a
// line every 10 seconds. A nil progress prints nothing.
type progress struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	said  time.Time
	shown bool
}

// The time between two lines.
const (
	onTerminal = 200 * time.Millisecond
	elsewhere  = 10 * time.Second
)

func newProgress(out io.Writer) *progress { return &progress{out: out, terminal: tty.Is(out)} }

// step reports how much of the preparation is done.
func (p *progress) step(what string, done, all int) {
	p.say(done == all, func() string { return fmt.Sprintf("%d of %d %s", done, all, what) })
}

// say writes a line if enough time has passed since the previous one, or if last is set: then no
// other line of its kind follows.
func (p *progress) say(last bool, line func() string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	least := elsewhere
	if p.terminal {
		least = onTerminal
	}
	now := time.Now()
	if !last && now.Sub(p.said) < least {
		return
	}
	p.said = now
	if !p.terminal {
		_, _ = fmt.Fprintln(p.out, "imapi-load:", line())
		return
	}
	p.clear()
	_, _ = io.WriteString(p.out, line())
	if p.shown = true; last {
		_, _ = io.WriteString(p.out, "\n")
		p.shown = false
	}
}

func (p *progress) clear() {
	if p.shown {
		_, _ = io.WriteString(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// end clears the line that is rewritten.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// watch shows the progress of a load until the returned function is called.
func (p *progress) watch(r *run) (stop func()) {
	if p == nil {
		return func() {}
	}
	ended, done := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		tick := time.NewTicker(onTerminal)
		defer tick.Stop()
		var before, events int64
		at := began
		for {
			select {
			case <-tick.C:
			case <-ended:
				return
			}
			p.say(false, func() string {
				now := time.Now()
				var finished, shed, failed int64
				for _, c := range r.counts {
					finished += c.done.Load()
					shed += c.shed.Load()
					failed += c.failed.Load()
				}
				delivered := r.deliveries.messages.Load() + r.replayed.Load()
				seconds := now.Sub(at).Seconds()
				line := fmt.Sprintf("%v  %.0f operations/s  %d shed  %d failed", now.Sub(began).Round(time.Second), float64(finished-before)/seconds, shed, failed)
				if delivered > 0 {
					line += fmt.Sprintf("  %.0f events/s", float64(delivered-events)/seconds)
				}
				before, events, at = finished, delivered, now
				return line
			})
		}
	}()
	return func() {
		close(ended)
		<-done
		p.end()
	}
}
