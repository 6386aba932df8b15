package events

import (
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// inbox is what the writer has handed over and the hub not yet looked at. It is
// bounded: what does not fit is left to the log, and all that is kept of it is
// how far the log must be read, and what it takes from readers, for that may
// wait in memory.
type inbox struct {
	size int
	// wake holds a token while there is something to take.
	wake chan struct{}

	mu     sync.Mutex
	closed bool
	next   delivery
}

// delivery is a stretch of the log as the hub takes it: first what must be read
// from the log, then events that follow it.
type delivery struct {
	// gap says that events up to gapHead are not in events.
	gap     bool
	gapHead im.Position
	events  []im.Event
	// removals came in the gap, and lost says that there may be more which are
	// not known.
	removals []removal
	lost     bool
	// head is the newest position, that of the last event at least.
	head im.Position
	// cuts are by user, the latest of each. None is ever dropped.
	cuts map[im.UserID]time.Time
}

func newInbox(size int) *inbox {
	return &inbox{size: size, wake: make(chan struct{}, 1)}
}

// put adds a commit. It never blocks for longer than a copy takes.
func (b *inbox) put(c im.Commit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	d := &b.next
	d.head = max(d.head, c.Head)
	if n := len(c.Events); n > 0 {
		d.head = max(d.head, c.Events[n-1].Position)
	}
	if c.Gap || len(d.events)+len(c.Events) > b.size {
		d.gap, d.gapHead = true, d.head
		d.lost = d.lost || c.Gap
		d.keepRemovals(d.events, b.size)
		d.keepRemovals(c.Events, b.size)
		clear(d.events)
		d.events = d.events[:0]
	} else {
		d.events = append(d.events, c.Events...)
	}
	for _, cut := range c.Cuts {
		if d.cuts == nil {
			d.cuts = make(map[im.UserID]time.Time)
		}
		if cut.At.After(d.cuts[cut.User]) {
			d.cuts[cut.User] = cut.At
		}
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// keepRemovals keeps what events that are dropped take from readers, unless
// that is too much.
func (d *delivery) keepRemovals(events []im.Event, limit int) {
	for i := range events {
		if removals := removalsOf(&events[i]); !d.lost {
			d.removals = append(d.removals, removals...)
			d.lost = len(d.removals) > limit
		}
	}
	if d.lost {
		d.removals = nil
	}
}

// take returns what waits and makes room. The slice of the delivery before is
// used again.
func (b *inbox) take(before delivery) delivery {
	clear(before.events)
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.next
	b.next = delivery{events: before.events[:0]}
	return d
}

// close makes put forget what comes.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.next = delivery{}
}
