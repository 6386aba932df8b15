package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/internal/tty"
)

// progress is a progress bar on a terminal, with lines of text above it. Without a terminal
// it prints only the text.
type progress struct {
	out      io.Writer
	terminal bool
	// size is the total number of bytes, 0 if unknown.
	size  int64
	bytes atomic.Int64
	// done is the number of lines, or of units if of is set.
	done atomic.Int64
	// of is the unit in which done and all count; "" for a bar that shows bytes and lines.
	of  string
	all atomic.Int64

	mu    sync.Mutex
	shown bool
}

func newProgress(out io.Writer, size int64) *progress {
	return &progress{out: out, terminal: tty.Is(out), size: size}
}

// newCount returns a bar that counts a unit, such as messages. For "bytes" it shows
// megabytes.
func newCount(out io.Writer, of string) *progress {
	return &progress{out: out, terminal: tty.Is(out), of: of}
}

// at sets the count and the total.
func (p *progress) at(done, all int64) {
	p.done.Store(done)
	p.all.Store(all)
}

// Write counts bytes.
func (p *progress) Write(b []byte) (int, error) {
	p.bytes.Add(int64(len(b)))
	return len(b), nil
}

// printf prints text above the bar.
func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	_, _ = fmt.Fprintf(p.out, format, args...)
}

func (p *progress) clear() {
	if p.shown {
		_, _ = io.WriteString(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// run shows the bar until the returned function is called.
func (p *progress) run() (stop func()) {
	if !p.terminal {
		return func() {}
	}
	began := time.Now()
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.mu.Lock()
				p.clear()
				_, _ = io.WriteString(p.out, p.line(time.Since(began)))
				p.shown = true
				p.mu.Unlock()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-done
		p.printf("")
	}
}

// line returns the text of the bar after a duration.
func (p *progress) line(took time.Duration) string {
	const width = 24
	bytes, lines := p.bytes.Load(), p.done.Load()
	seconds := max(took.Seconds(), 0.001)
	size := p.size
	var text string
	switch p.of {
	case "":
		text = fmt.Sprintf("%.1f MB  %d lines  %.0f/s", float64(bytes)/1e6, lines, float64(lines)/seconds)
	case "bytes":
		text = fmt.Sprintf("%.1f MB  %.1f MB/s", float64(lines)/1e6, float64(lines)/1e6/seconds)
		bytes, size = lines, p.all.Load()
	default:
		text = fmt.Sprintf("%d %s  %.0f/s", lines, p.of, float64(lines)/seconds)
		bytes, size = lines, p.all.Load()
	}
	if size <= 0 || bytes <= 0 {
		return text
	}
	part := min(float64(bytes)/float64(size), 1)
	full := int(part * width)
	left := time.Duration(float64(took) * (1 - part) / part).Round(time.Second)
	return fmt.Sprintf("%3.0f%% [%s%s]  %s  %v left", part*100, strings.Repeat("=", full), strings.Repeat(" ", width-full), text, left)
}
