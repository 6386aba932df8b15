package events

import (
	"context"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

const (
	// receiptInterval is how long receipts are gathered before they are handed
	// over, so that a burst costs one transaction.
	receiptInterval = 500 * time.Millisecond
	// receiptTimeout bounds one handing over, which closing the hub waits for.
	receiptTimeout = 10 * time.Second
	// maxReceipts is how many ranges of messages are gathered; what is more is
	// lost. It bounds the memory, and the transaction that stores them.
	maxReceipts = 8192
	// receiptTries is how many times in a row handing over may fail before what
	// was gathered is given up, lest something that cannot be stored holds up
	// all that comes after it.
	receiptTries = 60
)

// receipts gathers which messages were written to the streams of whom, and
// hands that over. Who puts something in does not wait for it.
type receipts struct {
	deliver func(context.Context, []im.Delivery) error
	log     *slog.Logger
	// wake holds a token once there is something after there was nothing.
	wake chan struct{}
	stop chan struct{} // closed by close
	done chan struct{} // closed when everything was handed over

	mu      sync.Mutex
	closed  bool
	pending map[recipient][]im.Delivery // rising, no two of a list touch
	ranges  int                         // in all lists
	lost    int                         // not gathered because there was no room
}

// recipient is a user in a conversation.
type recipient struct {
	user         im.UserID
	conversation im.ID
}

func newReceipts(deliver func(context.Context, []im.Delivery) error, log *slog.Logger) *receipts {
	return &receipts{
		deliver: deliver,
		log:     log,
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		pending: make(map[recipient][]im.Delivery),
	}
}

// put adds what somebody was told, unless close was called. It keeps nothing of
// the slice.
func (r *receipts) put(got []im.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.gather(got)
	}
}

// gather is put for who holds the lock.
func (r *receipts) gather(got []im.Delivery) {
	before := r.ranges
	for _, d := range got {
		r.add(d)
	}
	if before == 0 && r.ranges > 0 {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// add makes one range of d and those that it touches.
func (r *receipts) add(d im.Delivery) {
	to := recipient{d.User, d.Conversation}
	list := r.pending[to]
	first := sort.Search(len(list), func(i int) bool { return list[i].Range.To >= d.Range.From-1 })
	past := sort.Search(len(list), func(i int) bool { return list[i].Range.From > d.Range.To+1 })
	if first == past && r.ranges >= maxReceipts {
		r.lost++
		return
	}
	if first < past {
		d.Range.From = min(d.Range.From, list[first].Range.From)
		d.Range.To = max(d.Range.To, list[past-1].Range.To)
	}
	r.ranges += 1 - (past - first)
	r.pending[to] = slices.Replace(list, first, past, d)
}

// take returns what was gathered and makes room.
func (r *receipts) take() []im.Delivery {
	r.mu.Lock()
	all := make([]im.Delivery, 0, r.ranges)
	for _, list := range r.pending {
		all = append(all, list...)
	}
	lost := r.lost
	clear(r.pending)
	r.ranges, r.lost = 0, 0
	r.mu.Unlock()
	if lost > 0 {
		r.log.Error("delivered receipts dropped, the queue is full", "lost", lost)
	}
	return all
}

// run hands over what was gathered, an interval after the first of it, and
// sleeps while there is nothing. It ends with close, after the last.
func (r *receipts) run(ctx context.Context) {
	defer close(r.done)
	failures := 0
	for {
		select {
		case <-r.wake:
		case <-r.stop:
			r.last(ctx)
			return
		}
		select {
		case <-time.After(receiptInterval):
		case <-r.stop:
			r.last(ctx)
			return
		}
		all := r.take()
		if err := r.handOver(ctx, all); err != nil {
			failures = r.failed(err, all, failures+1)
		} else {
			failures = 0
		}
	}
}

func (r *receipts) handOver(ctx context.Context, all []im.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	return r.deliver(ctx, all)
}

// failed puts back what could not be handed over, unless that was the last of
// its tries, and returns how many there were.
func (r *receipts) failed(err error, all []im.Delivery, tries int) int {
	if tries == receiptTries {
		r.log.Error("delivered receipts given up", "error", faults.Text(err), "ranges", len(all))
		return 0
	}
	if tries == 1 {
		r.log.Warn("delivered receipts not stored yet", "error", faults.Text(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gather(all)
	return tries
}

// last hands over what is left, once.
func (r *receipts) last(ctx context.Context) {
	all := r.take()
	if len(all) == 0 {
		return
	}
	if err := r.handOver(ctx, all); err != nil {
		r.log.ErrorContext(ctx, "delivered receipts not stored", "error", faults.Text(err), "ranges", len(all))
	}
}

// close hands over what is there and returns when that is done. What comes
// later is forgotten.
func (r *receipts) close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.stop)
	}
	r.mu.Unlock()
	<-r.done
}
