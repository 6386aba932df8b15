package events

import (
	"context"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

const (
	// receiptInterval is the time for which receipts are collected before they are stored, so that
	// a burst costs one transaction.
	receiptInterval = 500 * time.Millisecond
	// receiptTimeout bounds one attempt to store receipts. Closing the hub waits for it.
	receiptTimeout = 10 * time.Second
	// maxReceipts is the maximum number of ranges of messages that are collected; further ones are
	// dropped. It bounds the memory and the transaction that stores them.
	maxReceipts = 8192
	// receiptTries is the number of failed attempts in a row after which the collected
	// receipts are dropped, so that they do not hold up all later ones.
	receiptTries = 60
)

// receipts collects deliveries: which messages were written to a stream of which user. It stores
// them in the background.
type receipts struct {
	deliver func(context.Context, []im.Delivery) error
	log     *slog.Logger
	wake    chan struct{} // holds a token once pending is not empty
	stop    chan struct{} // closed by close
	done    chan struct{} // closed when run returns

	mu      sync.Mutex
	closed  bool
	pending map[recipient][]im.Delivery // in order; ranges of a list do not touch
	ranges  int                         // in all lists
	lost    int                         // dropped because there were maxReceipts
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

// put adds deliveries, unless close was called. It does not keep the slice.
func (r *receipts) put(deliveries []im.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.collect(deliveries)
	}
}

// collect adds deliveries. The caller holds the lock.
func (r *receipts) collect(deliveries []im.Delivery) {
	before := r.ranges
	for _, d := range deliveries {
		r.add(d)
	}
	if before == 0 && r.ranges > 0 {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// add adds a range, merged with the ranges that it touches. It drops a range that touches none if
// there are maxReceipts.
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

// take removes and returns all collected deliveries.
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
		r.log.Error("delivered receipts dropped: the queue is full", "lost", lost)
	}
	return all
}

// run stores receipts, receiptInterval after the first of them. After close is called it makes one
// attempt to store what is left, and returns.
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
		if err := r.store(ctx, all); err != nil {
			failures = r.failed(err, all, failures+1)
		} else {
			failures = 0
		}
	}
}

func (r *receipts) store(ctx context.Context, all []im.Delivery) error {
	ctx, cancel := awake.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	return r.deliver(ctx, all)
}

// failed puts back receipts that could not be stored, or drops them after the last attempt. It
// returns the number of failed attempts in a row, 0 once the receipts are dropped.
func (r *receipts) failed(err error, all []im.Delivery, tries int) int {
	if tries == receiptTries {
		r.log.Error("delivered receipts dropped: storing them failed", "error", faults.Text(err), "ranges", len(all))
		return 0
	}
	if tries == 1 {
		r.log.Warn("delivered receipts not stored yet", "error", faults.Text(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.collect(all)
	return tries
}

// last stores what is left, in one attempt.
func (r *receipts) last(ctx context.Context) {
	all := r.take()
	if len(all) == 0 {
		return
	}
	if err := r.store(ctx, all); err != nil {
		r.log.ErrorContext(ctx, "delivered receipts not stored", "error", faults.Text(err), "ranges", len(all))
	}
}

// close makes run attempt once more to store what was collected, and returns when that is done.
// Later receipts are ignored.
func (r *receipts) close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.stop)
	}
	r.mu.Unlock()
	<-r.done
}
