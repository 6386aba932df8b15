package events

import (
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

// inbox queues published commits for the dispatcher. The number of events is bounded: for commits
// that do not fit, it keeps only the position up to which the log must be read, the cut-offs, the
// users who have blocked others, and the retractions, because frames of the retracted messages
// may be in memory.
type inbox struct {
	size int           // the maximum number of events
	wake chan struct{} // holds a token while there is something to take

	mu     sync.Mutex
	closed bool
	head   im.Position // the newest position that was published
	next   backlog
	// transients wait until all commits before them were published.
	transients []transient
}

// backlog is what was published since the dispatcher last called take: possibly a gap, whose events
// must be read from the log, and then the events after it.
type backlog struct {
	gap     bool // events up to gapHead are missing
	gapHead im.Position
	events  []im.Event
	// The retractions in the gap. lost means that there may be others.
	retractions []retraction
	lost        bool
	head        im.Position // the newest position
	// cuts has the latest cut-off of each user. They are never dropped.
	cuts map[im.UserID]time.Time
	// transients are dispatched between the events, by their positions.
	transients []transient
	// blocks are the users who have blocked another user.
	blocks []im.UserID
}

// newInbox returns an inbox for commits after a position.
func newInbox(size int, head im.Position) *inbox {
	return &inbox{size: size, head: head, wake: make(chan struct{}, 1)}
}

// put adds a commit. It does not wait for the dispatcher.
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
		d.keepRetractions(d.events, b.size)
		d.keepRetractions(c.Events, b.size)
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
	for _, block := range c.Blocks {
		if !slices.Contains(d.blocks, block.By) {
			d.blocks = append(d.blocks, block.By)
		}
	}
	b.head = max(b.head, d.head)
	b.signal()
}

// signal wakes the dispatcher.
func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// keepRetractions keeps the retractions of events that are dropped, unless there are more
// than limit.
func (d *backlog) keepRetractions(events []im.Event, limit int) {
	for i := range events {
		if retractions := retractionsOf(&events[i]); !d.lost {
			d.retractions = append(d.retractions, retractions...)
			d.lost = len(d.retractions) > limit
		}
	}
	if d.lost {
		d.retractions = nil
	}
}

// take returns the backlog and begins a new one, which reuses the memory of before: the backlog
// that the previous call returned.
func (b *inbox) take(before backlog) backlog {
	clear(before.events)
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.next
	d.transients = b.dueTransients()
	b.next = backlog{events: before.events[:0]}
	return d
}

// close drops what was not taken, and makes put ignore all further commits.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.next, b.transients = backlog{}, nil
}
