package events

import (
	"container/heap"
	"sync"
	"time"
)

// writer writes the streams that are pinned to it, one after another and without waiting for
// any of them. Its goroutine is the only one that ends them.
type writer struct {
	hub     *Hub
	wake    chan struct{} // holds a token when there are streams in ready
	streams int           // the number pinned to it; guarded by hub.mu
	timing  timing
	joiner  joiner
	offered []*pooled // streams for ready, which the dispatcher collects

	mu    sync.Mutex
	ready []*pooled // streams to serve next
}

// add passes streams to the writer. Each must be scheduled, and nothing else may have it.
func (w *writer) add(streams ...*pooled) {
	w.mu.Lock()
	w.ready = append(w.ready, streams...)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run serves streams until stop is closed, before which all of them must have ended.
func (w *writer) run(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var turns []*pooled
	for {
		select {
		case <-stop:
			return
		case <-w.wake:
		case <-timer.C:
		}
		turns = w.take(turns)
		for _, p := range turns {
			w.serve(p, time.Now())
		}
		timer.Reset(w.tick(time.Now()))
	}
}

// take returns the streams to serve next. before is the result of its previous call, which it
// reuses.
func (w *writer) take(before []*pooled) []*pooled {
	clear(before)
	w.mu.Lock()
	defer w.mu.Unlock()
	turns := w.ready
	w.ready = before[:0]
	return turns
}

// tick serves the streams for which something is due, and returns the time until something is due
// for the next stream, or the heartbeat interval if there is none.
func (w *writer) tick(now time.Time) time.Duration {
	for len(w.timing) > 0 {
		p := w.timing[0]
		if d := p.due.Sub(now); d > 0 {
			return d
		}
		heap.Pop(&w.timing)
		p.mu.Lock()
		mine := !p.scheduled
		p.scheduled = true
		p.mu.Unlock()
		if mine { // otherwise it will be served soon anyway
			w.serve(p, now)
		}
	}
	return w.hub.opts.Heartbeat
}

// serve serves one stream once. Afterwards the stream is idle, ready again, served by a goroutine
// of its own, or has ended.
func (w *writer) serve(p *pooled, now time.Time) {
	p.away = false
	due := p.due
	waits, err := false, p.err
	if err == nil {
		waits, err = w.turn(p, now)
	}
	switch {
	case err != nil:
		w.end(p, err)
	case waits:
		p.away = true
		go p.run(p.wait)
	default:
		switch {
		case p.index < 0:
			heap.Push(&w.timing, p)
		case p.due != due:
			heap.Fix(&w.timing, p.index)
		}
		if !p.rest() {
			w.add(p)
		}
	}
}

func (w *writer) turn(p *pooled, now time.Time) (waits bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = p.panicked(v)
		}
	}()
	return p.turn(&w.joiner, now)
}

// end ends a stream with a reason.
func (w *writer) end(p *pooled, reason error) {
	if p.index >= 0 {
		heap.Remove(&w.timing, p.index)
	}
	p.finish(reason)
	w.hub.mu.Lock()
	w.streams--
	w.hub.mu.Unlock()
	w.hub.serving.Done()
}

// timing is a heap of streams, in the order of the times when something is due for them.
type timing []*pooled

func (t timing) Len() int           { return len(t) }
func (t timing) Less(i, j int) bool { return t[i].due.Before(t[j].due) }

func (t timing) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push appends a stream.
func (t *timing) Push(x any) {
	p := x.(*pooled)
	p.index = len(*t)
	*t = append(*t, p)
}

// Pop removes the last stream.
func (t *timing) Pop() any {
	last := len(*t) - 1
	p := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	p.index = -1
	return p
}

// writer pins a stream to the writer with the fewest streams, or returns nil if the hub is closed.
func (h *Hub) writer() *writer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	least := h.writers[0]
	for _, w := range h.writers {
		if w.streams < least.streams {
			least = w
		}
	}
	least.streams++
	h.serving.Add(1)
	return least
}

// wakeWriters gives the streams that the dispatcher has collected to their writers.
func (h *Hub) wakeWriters() {
	for _, w := range h.writers {
		if len(w.offered) > 0 {
			w.add(w.offered...)
			clear(w.offered)
			w.offered = w.offered[:0]
		}
	}
}

// collect collects a stream for its writer, and wakes the writer if it has collected enough; it
// ignores nil.
func (h *Hub) collect(p *pooled) {
	if p == nil {
		return
	}
	w := p.writer
	if w.offered = append(w.offered, p); len(w.offered) >= offeredAtOnce {
		w.add(w.offered...)
		clear(w.offered)
		w.offered = w.offered[:0]
	}
}

// offeredAtOnce is the number of streams that the dispatcher collects before it wakes a writer: few
// enough that writers start while it continues.
const offeredAtOnce = 64
