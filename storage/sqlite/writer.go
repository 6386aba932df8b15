package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

func answer(calls []*call, err error) {
	for _, c := range calls {
		c.answer(err)
	}
}

// writer is the one goroutine that writes. It takes what queued during the
// last commit and runs it in one transaction with one fsync; see [queue].
//
// There is no savepoint around a call: rules come before writes, so a call
// that refuses has nothing to undo. If one fails after its first write or
// panics, the transaction is rolled back and the others run again without it.
// No one is answered before the transaction has ended, refusals included: they
// may rest on what another call of the batch wrote.
type writer struct {
	store *Store
	queue *queue
	ended chan struct{}

	mu        sync.RWMutex // guards listeners
	listeners []func(im.Commit)

	// Of the goroutine alone:

	// session is nil after a failure, until it could be opened again.
	session *session
	// head is the newest position that the listeners were told of.
	head im.Position
	// filed is the position up to which all events are filed.
	indexed im.Position
	// cutsInDoubt says that a commit of cut-offs failed, which may be durable all the
	// same.
	cutsInDoubt bool
	// doomedInDoubt says that a commit of erasures failed, which may be durable, too.
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

// write runs fn and returns once its transaction has ended. It does not return
// earlier when ctx is done: then nobody would know whether fn was run.
func (w *writer) write(ctx context.Context, fn func(im.Tx) error) error {
	c, err := w.queue.add(ctx, fn)
	if err != nil {
		return err
	}
	return <-c.done
}

// stop lets the queue run empty and ends the goroutine. The session is left to who closes
// the store.
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

// run answers all of the calls, in as few transactions as it takes.
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

// transact runs calls in one transaction until next gives none. If one of them
// breaks it, those before run again without it, in one of their own, and those after
// it are left to the next transaction: so every call runs at most twice for a failure
// of another, however many fail.
func (w *writer) transact(next func() *call) {
	now := w.store.options.Now
	stats := BatchStats{}
	start := now()
	// Called before the callers are answered: who reads the metrics after their answer
	// finds its commit counted.
	report := func(err error) {
		if w.store.options.Observe == nil {
			return
		}
		stats.Queued, _ = w.queue.len()
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
		// Nobody knows what is on the disk now, nor what state the
		// connection is in.
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
	published := im.Commit{Events: t.events, Cuts: t.cuts, Due: t.due, Head: max(w.head, t.head())}
	w.store.committed.Store(int64(published.Head))
	w.indexed = t.indexed
	report(nil)
	// What takes something from somebody holds once it is answered: a token that is cut
	// off, content that is gone. Else who waits for the answer comes before those who
	// are told, of whom there may be a thousand.
	takes := len(t.cuts) > 0 || len(t.doomed) > 0
	if takes {
		w.publish(published)
	}
	for _, c := range ran {
		c.answer(c.err)
	}
	if !takes {
		w.publish(published)
	}
}

// call runs the function of one call. It reports whether the function may have
// changed something that must not be committed.
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
		// A function that went on after an error of the driver must not be
		// taken at its word.
		c.err = t.session.failed
	}
	return c.err != nil && t.session.wrote
}

// begin starts a transaction, on a new connection if the last one was lost.
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

// commit ends the transaction, whatever its outcome is.
func (w *writer) commit() error {
	defer w.store.checkpointer.end()
	return w.session.control("COMMIT")
}

// rollback undoes the transaction, if SQLite has not done so itself.
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

// drop closes the connection, which undoes what it has not committed.
func (w *writer) drop() {
	if err := w.session.close(); err != nil {
		w.store.options.Logger.Error("closing the writer's connection failed", "error", faults.Text(err))
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

// ensureSession opens the connection again if it was dropped. If a commit that
// was said to have failed turns out to be durable, the listeners are told that
// they have missed something.
func (w *writer) ensureSession() error {
	if w.session != nil {
		return nil
	}
	s, err := w.open()
	if err != nil {
		w.store.options.Logger.Error("opening the writer's connection failed", "error", faults.Text(err))
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

// cutPage is how many cut-offs are read and published at once.
const cutPage = 1000

// publishCuts publishes all cut-offs anew, for one may have been made of which nobody
// was told.
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

// publish tells the listeners what a commit has made known.
func (w *writer) publish(c im.Commit) {
	w.head = c.Head
	if len(c.Events) == 0 && len(c.Cuts) == 0 && c.Due.IsZero() && !c.Gap {
		return
	}
	w.mu.RLock()
	listeners := w.listeners
	w.mu.RUnlock()
	for _, fn := range listeners {
		w.tell(fn, c)
	}
}

// tell keeps a listener that panics from taking the store with it.
func (w *writer) tell(fn func(im.Commit), c im.Commit) {
	defer func() {
		if v := recover(); v != nil {
			w.store.options.Logger.Error("panic in a commit listener", faults.Panic(v)...)
		}
	}()
	fn(c)
}

// unused are keys that nothing is sealed under, for it was rolled back.
func unused(slots []im.Slot) []doomed {
	list := make([]doomed, len(slots))
	for i, s := range slots {
		list[i].Shredding = im.Shredding{Slot: s, Code: im.ShredRemoved}
	}
	return list
}
