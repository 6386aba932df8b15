package searchindex

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imapi/imapi/faults"
)

const (
	// batchDelay is the time that deletions wait for others, because deleting many at once costs
	// less.
	batchDelay = time.Second
	// deleteBatch is the number of waiting deletions at which they are no longer delayed.
	deleteBatch = 1 << 16
	// retryFirst and retryMax bound the delay before writing the file is tried again.
	retryFirst = 250 * time.Millisecond
	retryMax   = 10 * time.Second
	// reportEvery is the time between two lines in the log about a rebuild.
	reportEvery = 10 * time.Second

	// mergeRun is the minimum number of small segments to merge, and mergeFull the minimum number
	// of messages in them.
	mergeRun  = 4
	mergeFull = maxDocuments * 3 / 4
)

// keeper is the state of the goroutine that writes.
type keeper struct {
	conn   *conn
	nextID int64 // id of the next segment
	mark   []byte
	retry  time.Duration
	// walDirty is set if the write-ahead log has old versions of pages from which entries were
	// deleted.
	walDirty bool
	// merged is the generation of the file in which merge last found nothing to merge.
	merged int64
	verifier
}

// exclusively runs fn while no search is in progress. New searches wait and then open the
// file again.
func (x *Index) exclusively(fn func() error) error {
	for range cap(x.conns) {
		if c := <-x.conns; c != nil {
			_ = c.close()
		}
	}
	defer func() {
		for range cap(x.conns) {
			x.conns <- nil
		}
	}()
	return fn()
}

// setStored replaces the segments in memory.
func (x *Index) setStored(now *stored) {
	for _, s := range now.segments {
		x.nextID = max(x.nextID, s.id+1)
	}
	x.stored.Store(now)
}

func (x *Index) nextSegment() int64 {
	x.nextID++
	return x.nextID - 1
}

// change changes the segments in one transaction. fn returns the whole new list.
func (x *Index) change(fn func(c *conn, list []*segment) ([]*segment, error)) error {
	before := x.stored.Load()
	next := &stored{generation: before.generation + 1}
	err := x.conn.transact(func() (err error) {
		if next.segments, err = fn(x.conn, slices.Clone(before.segments)); err != nil {
			return err
		}
		return x.conn.exec(putMeta, keyGeneration, next.generation)
	})
	if err != nil {
		return err
	}
	x.stored.Store(next)
	return nil
}

// loop does the work until the index is closed.
func (x *Index) loop(ctx context.Context) {
	defer close(x.ended)
	for {
		wait, err := x.work(ctx)
		if err != nil && ctx.Err() == nil {
			wait = x.handleError(err)
		}
		x.mu.Lock()
		closing := x.closing
		x.mu.Unlock()
		if closing {
			x.finish()
			return
		}
		if wait == 0 {
			continue
		}
		var timer <-chan time.Time
		wake := x.wake
		if wait > 0 {
			timer = x.options.after(wait)
		}
		if err != nil { // new messages do not shorten the delay
			wake = nil
		}
		select {
		case <-wake:
		case <-timer:
		case <-ctx.Done():
		}
	}
}

// idle is an unlimited wait.
const idle = time.Duration(-1)

// handleError returns the wait after an error. It replaces a damaged file.
func (x *Index) handleError(err error) time.Duration {
	x.failed(err)
	switch {
	case isDamaged(err):
		x.options.Logger.Warn("rebuilding the search index", "error", faults.Text(err))
		if err := x.recreate(); err != nil {
			x.failed(err)
		}
	case x.conn != nil: // its state is unknown
		_ = x.conn.close()
		x.conn = nil
	}
	x.retry = min(max(2*x.retry, retryFirst), retryMax)
	return x.retry
}

// work does a part of the pending work and returns the wait before the next part, 0 if there is
// more to do.
func (x *Index) work(ctx context.Context) (time.Duration, error) {
	if err := x.ensureOpen(); err != nil {
		return 0, err
	}
	waiting := x.sortTail(ctx)
	due, err := x.deleteDue(false)
	if err != nil {
		return 0, err
	}
	if waiting >= x.options.FlushAt {
		if err := x.flush(); err != nil {
			return 0, err
		}
	}
	if err := x.merge(); err != nil {
		return 0, err
	}
	more, err := x.verify(ctx)
	if err != nil {
		return 0, err
	}
	if err := x.truncate(); err != nil {
		return 0, err
	}
	x.retry = 0
	x.succeeded()
	if more {
		return 0, nil
	}
	if x.walDirty {
		due = batchDelay
	}
	return due, nil
}

// sortTail hashes and sorts new messages and returns the number of messages in memory.
func (x *Index) sortTail(ctx context.Context) int {
	for _, it := range x.memory.Load().tail {
		if ctx.Err() != nil {
			break
		}
		it.hashed(x.hasher)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.memory.Load().sortTail()
	x.memory.Store(m)
	return len(m.sorted)
}

// flush writes messages in memory to the file.
func (x *Index) flush() error {
	list := x.memory.Load().sorted
	list = list[:min(len(list), maxDocuments)]
	if len(list) == 0 {
		return nil
	}
	docs := make([]document, 0, len(list))
	for _, it := range live(list) {
		docs = append(docs, document{
			id: it.id, conversation: uint32(x.hasher.Conversation(it.conversation)), entries: it.hashed(x.hasher),
		})
	}
	if len(docs) > 0 {
		if err := x.put(docs); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, it := range list {
		if x.items[it.id] == it {
			delete(x.items, it.id)
		}
	}
	m := x.memory.Load()
	x.memory.Store(&memory{sorted: slices.Clone(m.sorted[len(list):]), tail: m.tail})
	return nil
}

// put writes documents, sorted by id, as a segment. It skips those that the file already
// has, because they were added twice.
func (x *Index) put(docs []document) error {
	return x.change(func(c *conn, list []*segment) ([]*segment, error) {
		ids := make([]int64, len(docs))
		for i, d := range docs {
			ids[i] = d.id
		}
		known := map[int64]bool{}
		for _, s := range list {
			numbers, err := s.find(c, ids, false)
			if err != nil {
				return nil, err
			}
			for _, n := range numbers {
				chunk, err := s.chunk(c, n/chunkSize)
				if err != nil {
					return nil, err
				}
				known[chunk[n%chunkSize].id] = true
			}
		}
		docs := slices.DeleteFunc(docs, func(d document) bool { return known[d.id] })
		if len(docs) == 0 {
			return list, nil
		}
		s, err := build(c, x.nextSegment(), docs)
		return append(list, s), err
	})
}

// deleteDue does all waiting deletions in one transaction, if the first has waited for batchDelay,
// there are deleteBatch of them, or now is set. It returns the wait until the next one is due.
func (x *Index) deleteDue(now bool) (time.Duration, error) {
	x.mu.Lock()
	ids := x.deletions
	age := x.options.now().Sub(x.deletionsSince)
	x.mu.Unlock()
	if len(ids) == 0 {
		return idle, nil
	}
	if !now && age < batchDelay && len(ids) < deleteBatch {
		return batchDelay - age, nil
	}
	taken := len(ids)
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	x.forget(ids)
	if err := x.deleteFrom(ids); err != nil {
		return 0, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.deletions) >= taken { // otherwise Add has dropped the list
		x.deletions = slices.Clone(x.deletions[taken:])
	}
	x.deletionsSince = x.options.now()
	if len(x.deletions) > 0 {
		return batchDelay, nil
	}
	return idle, nil
}

// deleteFrom deletes messages, with ascending ids, from the segments.
func (x *Index) deleteFrom(ids []int64) error {
	found := 0
	err := x.change(func(c *conn, list []*segment) ([]*segment, error) {
		left := list[:0]
		for _, s := range list {
			next, n, err := s.delete(c, ids, x.nextSegment)
			if err != nil {
				return nil, err
			}
			found += n
			if next != nil {
				left = append(left, next)
			}
		}
		return left, nil
	})
	if err == nil && found > 0 {
		x.walDirty = true
	}
	return err
}

// truncate empties the write-ahead log after deletions. If searches overlap without a gap,
// it blocks new ones.
func (x *Index) truncate() error {
	if !x.walDirty {
		return nil
	}
	empty := func() error {
		busy, err := x.conn.integer("PRAGMA wal_checkpoint(TRUNCATE)")
		x.walDirty = err != nil || busy != 0
		return err
	}
	if err := empty(); err != nil || !x.walDirty {
		return err
	}
	return x.exclusively(empty)
}

// merge merges small segments into a large one.
func (x *Index) merge() error {
	now := x.stored.Load()
	if now.generation == x.merged {
		return nil
	}
	run := mergeable(now.segments)
	if run == nil {
		x.merged = now.generation
		return nil
	}
	return x.change(func(c *conn, list []*segment) ([]*segment, error) {
		var docs []document
		for _, s := range run {
			some, err := s.documents(c)
			if err != nil {
				return nil, err
			}
			docs = append(docs, some...)
			if err := s.drop(c); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(docs, func(a, b document) int { return compare(a.id, b.id) })
		s, err := build(c, x.nextSegment(), docs)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(s *segment) bool { return slices.Contains(run, s) })
		return append(list, s), nil
	})
}

// mergeable returns neighbouring segments that together make a large one, or nil.
func mergeable(list []*segment) []*segment {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b *segment) int { return compare(a.first(), b.first()) })
	for from := range list {
		total := 0
		for to, s := range list[from:] {
			if total += s.live; total > maxDocuments {
				break
			}
			if to+1 >= mergeRun && total >= mergeFull {
				return list[from : from+to+1]
			}
		}
	}
	return nil
}

// finish writes what is pending when the index is closed.
func (x *Index) finish() {
	err := x.writeAll()
	if x.conn == nil {
		return
	}
	x.mu.Lock()
	complete := err == nil && x.verified.Load() == 0 && len(x.items) == 0 && len(x.deletions) == 0
	x.mu.Unlock()
	if complete && x.mark != nil {
		err = x.conn.exec(putMeta, keyClosed, x.mark)
	}
	if err != nil {
		x.options.Logger.Warn("search index not closed cleanly: comparing it with the database at the next start", "error", faults.Text(err))
	}
	x.walDirty = true
	if err := errors.Join(x.truncate(), x.conn.close()); err != nil {
		x.options.Logger.Warn("cannot close the search index", "error", faults.Text(err))
	}
	x.conn = nil
}

func (x *Index) writeAll() error {
	if err := x.ensureOpen(); err != nil {
		return err
	}
	if _, err := x.deleteDue(true); err != nil {
		return err
	}
	for x.sortTail(context.Background()) > 0 {
		if err := x.flush(); err != nil {
			return err
		}
	}
	return nil
}
