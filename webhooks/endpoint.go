package webhooks

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

const (
	// Deliveries are stored in batches: after mostUnsaved of them, after saveAfter, and before a
	// wait for another attempt. If only the position has moved, it is stored after moveAfter. After
	// a crash, deliveries that were not stored are repeated.
	mostUnsaved = 256
	saveAfter   = 500 * time.Millisecond
	moveAfter   = 5 * time.Second
	// queuedAtOnce is the number of redeliveries that are read at once.
	queuedAtOnce = 100
)

// endpoint is an active webhook with its goroutine.
type endpoint struct {
	*Deliverer
	// ctx bounds requests, and cut ends it. The last write to the store outlives ctx.
	ctx context.Context
	cut context.CancelFunc
	// wake holds a token if there may be new events, changed if next or stopping is set.
	wake, changed chan struct{}
	done          chan struct{} // closed when the goroutine ends
	// pending is when the next event happened, in milliseconds, 0 if there is none.
	pending atomic.Int64

	mu       sync.Mutex
	next     *im.ActiveWebhook
	stopping bool

	// The other fields belong to the goroutine. w has the position of the last event that was
	// delivered or skipped.
	w im.ActiveWebhook
	// window has the next events. The log was read up to through, which becomes the position once
	// the window is done.
	window  []im.Event
	through im.Position
	// delivery is that of the next event, zero before its first attempt.
	delivery im.WebhookDelivery
	// queued are redeliveries that an admin has requested. askQueued is set if there may be more.
	queued    []im.WebhookDelivery
	askQueued bool
	// records are deliveries that are not stored yet. unsavedSince is the time of the first
	// progress that is not stored, zero if all is stored.
	records      []im.WebhookDelivery
	unsavedSince time.Time
	gone         bool // deleted, or off
}

func newEndpoint(ctx context.Context, d *Deliverer, w im.ActiveWebhook) *endpoint {
	e := &endpoint{
		Deliverer: d, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), done: make(chan struct{}),
		w: w, through: w.Position, askQueued: true,
	}
	e.ctx, e.cut = context.WithCancel(ctx)
	return e
}

// change makes the goroutine adopt the webhook as it is stored now.
func (e *endpoint) change(w im.ActiveWebhook) {
	e.mu.Lock()
	e.next, e.stopping = &w, false
	e.mu.Unlock()
	signal(e.changed)
}

// stop makes the goroutine end after the current request.
func (e *endpoint) stop() {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	signal(e.changed)
}

func (e *endpoint) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// run delivers events until the webhook is stopped, off or deleted.
func (e *endpoint) run() {
	defer e.cut()
	// A webhook that was resumed in the meantime needs a new goroutine.
	defer signal(e.reload)
	defer close(e.done)
	defer e.pending.Store(0)
	for e.adopt() {
		if err := e.step(); err != nil {
			e.drop()
			e.pause(err)
		}
		if e.gone {
			return
		}
	}
	if err := e.save(); err != nil {
		e.log(err)
	}
}

// pause logs a failure of the store and waits. New events do not end the wait, because they would
// make it query a failing store again and again without a pause.
func (e *endpoint) pause(err error) {
	if e.ctx.Err() != nil {
		return
	}
	e.log(err)
	select {
	case <-e.ctx.Done():
	case <-e.changed:
	case <-e.opts.After(failurePause):
	}
}

func (e *endpoint) log(err error) {
	e.opts.Logger.Error("webhook not read or stored", "webhook", e.w.ID.String(), "error", faults.Text(err))
}

// drop forgets events and redeliveries that were read but not delivered.
func (e *endpoint) drop() {
	e.window, e.through, e.queued, e.askQueued = nil, e.w.Position, nil, true
}

// adopt applies what an admin has changed. It returns false if the goroutine must end.
func (e *endpoint) adopt() bool {
	e.mu.Lock()
	next, stopping := e.next, e.stopping
	e.next = nil
	e.mu.Unlock()
	if stopping || e.ctx.Err() != nil {
		return false
	}
	if next == nil {
		return true
	}
	if next.Moves == e.w.Moves {
		next.WebhookProgress = e.w.WebhookProgress
	} else {
		e.delivery = im.WebhookDelivery{}
	}
	e.w = *next
	e.drop()
	return true
}

// step performs the next step: a redelivery, an attempt, a read of the log, or a wait. The error is
// from the store.
func (e *endpoint) step() error {
	if e.isSaveDue() || e.w.State == im.WebhookOff {
		if err := e.save(); err != nil || e.gone {
			return err
		}
	}
	if e.askQueued {
		var err error
		if e.queued, err = e.opts.Source.QueuedDeliveries(e.ctx, e.w.ID, queuedAtOnce); err != nil {
			return err
		}
		e.askQueued = false
	}
	if len(e.queued) > 0 {
		return e.redeliver()
	}
	if len(e.window) > 0 {
		if wait := e.w.Wait(e.opts.Now()); wait > 0 {
			if err := e.save(); err != nil || e.gone {
				return err
			}
			e.wait(wait)
			return nil
		}
		return e.deliver()
	}
	return e.read()
}

// read reads the log, or waits if there is nothing new.
func (e *endpoint) read() error {
	select {
	case <-e.wake: // later events wake it again
	default:
	}
	e.w.Position = max(e.w.Position, e.through) // the window is done
	w, err := e.opts.Source.WebhookEvents(e.ctx, e.w.Webhook.ID, e.through)
	if err != nil {
		return err
	}
	moved := w.Through > e.through
	e.window, e.through = w.Events, w.Through
	if len(w.Events) > 0 {
		e.pending.Store(w.Events[0].At.UnixMilli())
		return nil
	}
	e.pending.Store(0)
	if moved {
		e.touch()
		return nil
	}
	if e.unsavedSince.IsZero() {
		e.wait(0)
	} else {
		e.wait(max(e.unsavedSince.Add(e.saveTime()).Sub(e.opts.Now()), time.Millisecond))
	}
	return nil
}

// touch records that there is something to save.
func (e *endpoint) touch() {
	if e.unsavedSince.IsZero() {
		e.unsavedSince = e.opts.Now()
	}
}

// wait waits for a duration, 0 for no limit, or until there is something new. For an idle webhook
// that includes new events.
func (e *endpoint) wait(d time.Duration) {
	var after <-chan time.Time
	if d > 0 {
		after = e.opts.After(d)
	}
	wake := e.wake
	if len(e.window) > 0 {
		wake = nil // it waits for the next attempt, not for events
	}
	select {
	case <-e.ctx.Done():
	case <-e.changed:
	case <-wake:
		signal(e.wake)
	case <-after:
	}
}

// deliver makes an attempt to deliver the next event.
func (e *endpoint) deliver() error {
	event := e.window[0]
	e.pending.Store(event.At.UnixMilli())
	if e.delivery.Position != event.Position {
		e.delivery = im.DeliveryOf(event)
		e.delivery.Attempts = e.w.Attempts // including those of an earlier process
	}
	attempt, made, err := e.attempt(event)
	switch {
	case err != nil:
		return err
	case !made && e.ctx.Err() != nil:
		return nil //nolint:nilerr // it was cut off; the next process repeats it
	case !made: // there is nothing to deliver, because the message was deleted
		if e.delivery.Attempts > 0 { // it is stored as retrying
			e.delivery.State = im.DeliverySkipped
			e.record(e.delivery)
		}
		e.shift()
		e.w.Pass(event.Position)
		e.touch()
		return nil
	}
	e.w.Webhook, e.delivery = e.w.After(e.delivery, attempt, rand.Float64()) //nolint:gosec // spreads requests, hides nothing
	e.attempted(e.delivery)
	e.record(e.delivery)
	if e.delivery.State != im.DeliveryRetrying {
		e.shift()
	}
	if e.w.State != im.WebhookOff {
		return nil
	}
	e.opts.Logger.ErrorContext(e.ctx, "webhook turned off", "webhook", e.w.ID.String(), "reason", e.w.Reason.String(), "failing_since", e.w.FailingSince)
	return e.save()
}

func (e *endpoint) shift() {
	if e.window = e.window[1:]; len(e.window) == 0 {
		e.window = nil // frees the rest of it
	}
}

// redeliver makes the only attempt of a redelivery that an admin has requested.
func (e *endpoint) redeliver() error {
	d := e.queued[0]
	event, found, err := e.opts.Source.WebhookEvent(e.ctx, e.w.ID, d.Position)
	if err != nil {
		return err
	}
	made := false
	var attempt im.Attempt
	if found {
		if attempt, made, err = e.attempt(event); err != nil || e.ctx.Err() != nil {
			return err
		}
	}
	if made {
		d = d.Redelivered(attempt)
		e.attempted(d)
	} else {
		d.State = im.DeliverySkipped // its message was deleted
	}
	e.queued = e.queued[1:]
	e.record(d)
	if len(e.queued) == 0 {
		e.askQueued = true
		return e.save() // otherwise they would be found again
	}
	return nil
}

// attempt looks up an event and makes a request. It returns false if there is nothing to deliver,
// or if ctx ended. The error is from the store.
func (e *endpoint) attempt(event im.Event) (im.Attempt, bool, error) {
	content, found, err := e.opts.Source.WebhookContent(e.ctx, e.w.ID, event, e.opts.Offline)
	if err != nil || !found {
		return im.Attempt{}, false, err
	}
	return e.post(e.ctx, e.w, e.opts.ID(event.Position), e.opts.Encode(content))
}

// attempted counts a request by the resulting state of the delivery.
func (e *endpoint) attempted(d im.WebhookDelivery) {
	switch d.State {
	case im.DeliveryDone:
		e.opts.Observer.WebhookAttempted("delivered")
	case im.DeliverySkipped:
		e.opts.Observer.WebhookAttempted("skipped")
	default:
		e.opts.Observer.WebhookAttempted("failed")
	}
}

// record records the delivery of an event. It replaces the newest record if that is of the same
// event and not stored yet.
func (e *endpoint) record(d im.WebhookDelivery) {
	e.touch()
	if n := len(e.records); n > 0 && e.records[n-1].Position == d.Position {
		e.records[n-1] = d
		return
	}
	e.records = append(e.records, d)
}

func (e *endpoint) saveTime() time.Duration {
	if len(e.records) > 0 {
		return saveAfter
	}
	return moveAfter
}

func (e *endpoint) isSaveDue() bool {
	return len(e.records) >= mostUnsaved || !e.unsavedSince.IsZero() && e.opts.Now().Sub(e.unsavedSince) >= e.saveTime()
}

// save stores the progress and the deliveries since the last call. It sets gone if the
// webhook is off or deleted.
func (e *endpoint) save() error {
	if e.unsavedSince.IsZero() {
		return nil
	}
	// Store what was delivered even if the deliverer is stopping.
	found, err := e.opts.Source.SaveWebhook(context.WithoutCancel(e.ctx), e.w.Webhook, e.records)
	if err != nil {
		return err
	}
	e.records, e.unsavedSince = e.records[:0], time.Time{}
	e.gone = !found || e.w.State == im.WebhookOff
	return nil
}
