package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

func answer(calls []*call, err error) {
	for _, c := range calls {
		c.answer(err)
	}
}

// writer is the goroutine that writes. It runs the calls that queued during the previous commit
// in one transaction with one sync; see [queue].
//
// Calls have no savepoints. Calls check their rules before they write, so a call that refuses has
// nothing to undo. If a call fails after its first write, or panics, the transaction is rolled back
// and the calls before it run again without it. No call returns before the transaction has ended,
// not even with a refusal, which may depend on what another call of the batch wrote.
type writer struct {
	store *Store
	queue *queue
	ended chan struct{}

	mu        sync.RWMutex // guards listeners
	listeners []func(im.Commit)

	// The fields below belong to the goroutine.

	// session is nil after a failure, until a new one can be opened.
	session *session
	// head is the newest position that was published to the listeners.
	head im.Position
	// indexed is the position up to which all events are indexed.
	indexed im.Position
	// cutsInDoubt is set if a commit with cut-offs failed but may be durable.
	cutsInDoubt bool
	// doomedInDoubt is set if a commit with erasures failed but may be durable.
	doomedInDoubt bool
}

func startWriter(s *Store, head im.Position) (*writer, error) {
	w := &writer{
		store: s, queue: newQueue(s.options.Now), ended: make(chan struct{}), head: head,
	}
	var err error
	if w.session, err = w.open(); err != nil {
		return nil, err
	}
	if w.indexed, err = (&reader{session: w.session}).indexedThrough(); err != nil {
		return nil, errors.Join(err, w.session.close())
	}
	go w.loop()
	return w, nil
}

func (w *writer) listen(fn func(im.Commit)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners = append(w.listeners, fn)
}

// write runs fn and returns once its transaction has ended. It does not return early when ctx ends,
// because the caller could not know whether fn was committed. If fn has not begun after maxWait, as
// when the disk hangs, it never runs, and write returns errOverloaded.
func (w *writer) write(ctx context.Context, fn func(im.Tx) error) error {
	c, err := w.queue.add(ctx, fn)
	if err != nil {
		return err
	}
	if c.waitsLong() {
		return <-c.done
	}
	late := make(chan struct{})
	defer awake.AfterFunc(maxWait, func() { close(late) })()
	select {
	case err := <-c.done:
		return err
	case <-late:
	}
	if c.withdraw() {
		return errOverloaded
	}
	return <-c.done
}

// stop runs the waiting calls and ends the goroutine. [Store.Close] closes the session.
func (w *writer) stop() {
	w.queue.close()
	<-w.ended
}

func (w *writer) loop() {
	defer close(w.ended)
	for range w.queue.ready {
		waiting, open := w.queue.len()
		switch {
		case waiting > 0:
			b := w.queue.batch()
			w.transact(b.next)
			b.close()
		case !open:
			return
		}
	}
}

// run runs all calls in as few transactions as possible.
func (w *writer) run(calls []*call) {
	next := func() *call {
		if len(calls) == 0 {
			return nil
		}
		c := calls[0]
		calls = calls[1:]
		return c
	}
	for len(calls) > 0 {
		w.transact(next)
	}
}

// transact runs calls in one transaction until next returns nil. If a call breaks the
// transaction, the calls before it run again in a transaction without it, and those after
// it wait for the next one. So every call runs at most twice because of others, however
// many fail.
func (w *writer) transact(next func() *call) {
	now := w.store.options.Now
	stats := BatchStats{}
	start := now()
	// Report before the calls return, so that a caller who then reads the metrics finds the commit
	// counted.
	report := func(err error) {
		if w.store.options.Observe == nil {
			return
		}
		stats.Duration, stats.Err = now().Sub(start), err
		w.store.options.Observe(stats)
	}

	if err := w.begin(); err != nil {
		report(err)
		for c := next(); c != nil; c = next() {
			c.answer(err)
		}
		return
	}
	t := newTx(w.session, w.store)
	t.last, t.indexed, t.maxUnindexed = w.head, w.indexed, w.store.options.unindexed
	var ran []*call
	for c := next(); c != nil; c = next() {
		if c.ctx.Err() != nil {
			c.answer(context.Cause(c.ctx))
			continue
		}
		if !c.begin() {
			continue
		}
		began := now()
		broken := w.call(t, c)
		c.took = now().Sub(began)
		if broken || !w.session.inTransaction() {
			w.rollback()
			w.store.shredder.add(unused(t.used))
			report(c.err)
			c.answer(c.err)
			w.run(ran)
			return
		}
		ran = append(ran, c)
	}

	stats.Calls, stats.Events = len(ran), len(t.events)
	committing := now()
	if err := w.commit(); err != nil {
		// Neither the content of the disk nor the state of the connection is known.
		if _, ok := im.AsError(err); !ok {
			err = unavailable(err)
		}
		w.cutsInDoubt = w.cutsInDoubt || len(t.cuts) > 0
		w.doomedInDoubt = w.doomedInDoubt || len(t.doomed) > 0
		w.store.options.Logger.Error("commit failed", "calls", len(ran), "error", faults.Text(err))
		w.drop()
		_ = w.ensureSession()
		w.store.index.VerifyAll()
		report(err)
		answer(ran, err)
		return
	}
	stats.Commit = now().Sub(committing)
	w.store.checkpointer.committed()
	w.store.users.add(t.interned)
	if t.slotEnd != 0 {
		w.store.sealer.slotEnd.Store(t.slotEnd)
	}
	w.store.shredder.add(t.doomed)
	w.store.index.Add(t.searchAdded, t.searchRemoved)
	published := im.Commit{Events: t.events, Cuts: t.cuts, Blocks: t.blocks, Due: t.due, Webhooks: t.webhooks, Head: max(w.head, t.head())}
	w.store.committed.Store(int64(published.Head))
	w.indexed = t.indexed
	report(nil)
	// A cut-off token, a block or an erasure must be in effect when the call returns, so it is
	// published first. Otherwise the calls return before the listeners run, which may have a
	// thousand streams to serve.
	revokes := len(t.cuts) > 0 || len(t.blocks) > 0 || len(t.doomed) > 0
	if revokes {
		w.publish(published)
	}
	for _, c := range ran {
		c.answer(c.err)
	}
	if !revokes {
		w.publish(published)
	}
}

// call runs the function of a call. It reports whether the function may have written data that must
// not be committed.
func (w *writer) call(t *tx, c *call) (broken bool) {
	t.session.reset()
	defer func() {
		if v := recover(); v != nil {
			w.store.options.Logger.ErrorContext(c.ctx, "panic in a transaction", faults.Panic(v)...)
			c.err = fmt.Errorf("sqlite: in a transaction: %w", faults.Recovered(v))
			broken = true
		}
	}()
	c.err = c.fn(t)
	if c.err == nil {
		// A function that continued after an error of the driver must not succeed.
		c.err = t.session.failed
	}
	return c.err != nil && t.session.wrote
}

// begin begins a transaction, on a new connection if the previous connection was dropped.
func (w *writer) begin() error {
	if err := w.ensureSession(); err != nil {
		return err
	}
	w.store.checkpointer.begin()
	err := w.session.control("BEGIN IMMEDIATE")
	if err != nil && w.session.inTransaction() {
		w.drop()
	}
	if err != nil {
		w.store.checkpointer.end()
	}
	return err
}

// commit commits the transaction.
func (w *writer) commit() error {
	defer w.store.checkpointer.end()
	return w.session.control("COMMIT")
}

// rollback rolls the transaction back, unless SQLite has done so.
func (w *writer) rollback() {
	defer w.store.checkpointer.end()
	if !w.session.inTransaction() {
		return
	}
	if err := w.session.control("ROLLBACK"); err != nil || w.session.inTransaction() {
		w.store.options.Logger.Error("rollback failed", "error", faults.Text(err))
		w.drop()
	}
}

// drop closes the connection, which rolls back what is not committed.
func (w *writer) drop() {
	if err := w.session.close(); err != nil {
		w.store.options.Logger.Error("cannot close the writer's connection", "error", faults.Text(err))
	}
	w.session = nil
}

func (w *writer) open() (*session, error) {
	s, err := openSession(w.store.path, w.store.options, writing)
	if err != nil {
		return nil, refusal(err)
	}
	return s, nil
}

// ensureSession opens the connection again if it was dropped. If a commit that seemed to fail has
// stored events, it publishes a gap to the listeners. In this case, or if a commit with cut-offs
// seemed to fail, it first publishes all cut-offs.
func (w *writer) ensureSession() error {
	if w.session != nil {
		return nil
	}
	s, err := w.open()
	if err != nil {
		w.store.options.Logger.Error("cannot open the writer's connection", "error", faults.Text(err))
		return err
	}
	r := &reader{session: s, users: w.store.users}
	bounds, err := r.LogBounds()
	if err != nil {
		return errors.Join(err, s.close())
	}
	due, _, err := r.NextDue()
	if err != nil {
		return errors.Join(err, s.close())
	}
	if w.indexed, err = r.indexedThrough(); err != nil {
		return errors.Join(err, s.close())
	}
	var doomed []doomed
	if w.doomedInDoubt {
		if doomed, err = s.loadDoomed(); err != nil {
			return errors.Join(err, s.close())
		}
	}
	if bounds.Head > w.head || w.cutsInDoubt {
		if err := w.publishCuts(r); err != nil {
			return errors.Join(err, s.close())
		}
	}
	w.store.shredder.add(doomed)
	w.session, w.cutsInDoubt, w.doomedInDoubt = s, false, false
	if bounds.Head > w.head {
		w.store.committed.Store(int64(bounds.Head))
		w.publish(im.Commit{Due: due, Head: bounds.Head, Gap: true})
	}
	return nil
}

// cutPage is the number of cut-offs that are read and published at a time.
const cutPage = 1000

// publishCuts publishes all cut-offs, because some may be from a commit that seemed to fail.
func (w *writer) publishCuts(r *reader) error {
	for after := (*im.TokenCut)(nil); ; {
		page, err := r.TokenCuts(after, cutPage)
		if err != nil {
			return err
		}
		w.publish(im.Commit{Cuts: page, Head: w.head})
		if len(page) < cutPage {
			return nil
		}
		after = &page[len(page)-1]
	}
}

// publish calls the listeners with a commit, unless it has nothing but a Head.
func (w *writer) publish(c im.Commit) {
	w.head = c.Head
	if len(c.Events) == 0 && len(c.Cuts) == 0 && len(c.Blocks) == 0 && c.Due.IsZero() && !c.Webhooks && !c.Gap {
		return
	}
	w.mu.RLock()
	listeners := w.listeners
	w.mu.RUnlock()
	for _, fn := range listeners {
		w.notify(fn, c)
	}
}

// notify calls a listener and recovers from its panic.
func (w *writer) notify(fn func(im.Commit), c im.Commit) {
	defer func() {
		if v := recover(); v != nil {
			w.store.options.Logger.Error("panic in a commit listener", faults.Panic(v)...)
		}
	}()
	fn(c)
}

// unused returns the keys of a rolled back transaction, with which nothing is sealed.
func unused(slots []im.Slot) []doomed {
	list := make([]doomed, len(slots))
	for i, s := range slots {
		list[i].Shredding = im.Shredding{Slot: s, Code: im.ShredRemoved}
	}
	return list
}
