package searchindex

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/imapi/imapi/faults"
)

const (
	formatVersion = 1
	selectMeta    = "SELECT value FROM meta WHERE key = ?"
	putMeta       = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
	deleteMeta    = "DELETE FROM meta WHERE key = ?"

	keyFormat     = "format"
	keyFits       = "fits"
	keyGeneration = "generation"
	keyClosed     = "closed"
)

const (
	// gather is how long a removal waits for others: what leaves together costs less.
	gather = time.Second
	// removeBatch is how many messages one transaction takes out.
	removeBatch = 1 << 16
	// retryFirst and retryMost are after how long it is tried again to write the file.
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second

	// mergeRun is how many small segments are merged at least, once they make a large
	// one of at least mergeFull messages.
	mergeRun  = 4
	mergeFull = maxDocuments * 3 / 4
)

// keeper is what the goroutine that writes has for itself.
type keeper struct {
	conn  *conn
	fresh int64 // the id of the next segment
	mark  []byte
	retry time.Duration
	// traces says that the write-ahead log has pages as they were before something was
	// taken out of them.
	traces bool
	// merged is the generation of the file that was looked at for what can be merged.
	merged int64
	verifier
}

// open opens the file, or makes it if there is none or one that does not fit.
func (x *Index) open() error {
	c, now, closed, err := x.tryOpen()
	switch {
	case err == nil:
	case errors.Is(err, os.ErrNotExist):
		return x.make()
	case isDamaged(err) || errors.Is(err, errForeign):
		x.options.Logger.Warn("the search index is made anew", "error", faults.Text(err))
		return x.make()
	default:
		return err
	}
	x.conn = c
	x.adopt(now)
	if closed != nil && bytes.Equal(closed, x.options.Mark) {
		x.mu.Lock()
		x.again = 0
		x.verified.Store(0)
		x.mu.Unlock()
	}
	return nil
}

var errForeign = errors.New("it is of other data")

// tryOpen opens the file if it fits. It notes that it is open, so that one that was not
// closed is known.
func (x *Index) tryOpen() (_ *conn, now *stored, closed []byte, err error) {
	if _, err := os.Stat(x.path); err != nil {
		return nil, nil, nil, err
	}
	c, err := openConn(x.path, x.options.fault)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	tables, err := c.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'")
	if err == nil && tables == 0 {
		err = errForeign
	}
	if err != nil {
		return nil, nil, nil, err
	}
	format, err := c.value(selectMeta, keyFormat)
	if err != nil {
		return nil, nil, nil, err
	}
	fits, err := c.bytes(selectMeta, keyFits)
	if err == nil && (format != int64(formatVersion) || !bytes.Equal(fits, x.options.fits())) {
		err = errForeign
	}
	if err != nil {
		return nil, nil, nil, err
	}
	now = &stored{}
	if now.generation, err = c.integer(selectMeta, keyGeneration); err != nil {
		return nil, nil, nil, err
	}
	if now.segments, err = readSegments(c); err != nil {
		return nil, nil, nil, err
	}
	if closed, err = c.bytes(selectMeta, keyClosed); err != nil {
		return nil, nil, nil, err
	}
	if closed != nil {
		err = c.exec(deleteMeta, keyClosed)
	}
	return c, now, closed, err
}

// make makes the file anew. Everything is to be put into it.
func (x *Index) make() error {
	if x.conn != nil {
		if err := x.conn.close(); err != nil {
			x.options.Logger.Warn("closing the search index failed", "error", faults.Text(err))
		}
		x.conn = nil
	}
	x.mu.Lock()
	x.again = nothing
	x.verified.Store(nothing)
	x.mu.Unlock()
	x.adopt(&stored{})
	// Nobody may have the old file open: who closes it last deletes the log by its name,
	// which would be that of the new one.
	err := x.alone(func() error { return createFile(x.path) })
	if err != nil {
		return err
	}
	c, err := openConn(x.path, x.options.fault)
	if err != nil {
		return err
	}
	err = c.transact(func() error {
		if err := c.script(schema); err != nil {
			return err
		}
		for key, value := range map[string]driver.Value{keyFormat: int64(formatVersion), keyFits: x.options.fits(), keyGeneration: int64(0)} {
			if err := c.exec(putMeta, key, value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, c.close())
	}
	x.conn = c
	return nil
}

// alone runs fn while nobody searches: whoever begins to waits. Afterwards they open the
// file anew.
func (x *Index) alone(fn func() error) error {
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

// adopt takes over what the file has.
func (x *Index) adopt(now *stored) {
	for _, s := range now.segments {
		x.fresh = max(x.fresh, s.id+1)
	}
	x.stored.Store(now)
}

func (x *Index) nextSegment() int64 {
	x.fresh++
	return x.fresh - 1
}

// change changes the segments in one transaction: fn returns what they are afterwards.
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

// loop does what there is to do, until the index is closed.
func (x *Index) loop(ctx context.Context) {
	defer close(x.ended)
	for {
		wait, err := x.work(ctx)
		if err != nil && ctx.Err() == nil {
			wait = x.recover(err)
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
		if err != nil { // what comes meanwhile changes nothing
			wake = nil
		}
		select {
		case <-wake:
		case <-timer:
		case <-ctx.Done():
		}
	}
}

// idle is a wait without an end.
const idle = time.Duration(-1)

// recover says how long to wait before it is tried again, after an error. A damaged file
// is made anew.
func (x *Index) recover(err error) time.Duration {
	x.failed(err)
	switch {
	case isDamaged(err):
		x.options.Logger.Warn("the search index is made anew", "error", faults.Text(err))
		if err := x.make(); err != nil {
			x.failed(err)
		}
	case x.conn != nil: // whatever state it is in
		_ = x.conn.close()
		x.conn = nil
	}
	x.retry = min(max(2*x.retry, retryFirst), retryMost)
	return x.retry
}

// work does a part of what there is to do, and says how long to wait then: 0 if there is
// more.
func (x *Index) work(ctx context.Context) (time.Duration, error) {
	if err := x.ready(); err != nil {
		return 0, err
	}
	waiting := x.settle(ctx)
	due, err := x.remove(false)
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
	if x.traces {
		due = gather
	}
	return due, nil
}

// settle sorts what came, hashes it, and returns how many messages are in memory.
func (x *Index) settle(ctx context.Context) int {
	for _, it := range x.memory.Load().tail {
		if ctx.Err() != nil {
			break
		}
		it.hashed(x.hasher)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.memory.Load().settle()
	x.memory.Store(m)
	return len(m.sorted)
}

// flush puts what is in memory into the file.
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

// put writes documents, sorted by id, as a segment. Those that the file has already, of
// which it was told twice, are left out.
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

// remove takes out of the file what is to leave it, once that has waited for others. It
// returns how long to wait for that.
func (x *Index) remove(now bool) (time.Duration, error) {
	x.mu.Lock()
	ids := x.removals
	age := x.options.now().Sub(x.since)
	x.mu.Unlock()
	if len(ids) == 0 {
		return idle, nil
	}
	if !now && age < gather && len(ids) < removeBatch {
		return gather - age, nil
	}
	taken := len(ids)
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	x.forget(ids)
	if err := x.removeFrom(ids); err != nil {
		return 0, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.removals) >= taken { // else they were given up meanwhile
		x.removals = slices.Clone(x.removals[taken:])
	}
	x.since = x.options.now()
	if len(x.removals) > 0 {
		return gather, nil
	}
	return idle, nil
}

// removeFrom takes messages, whose ids rise, out of the segments.
func (x *Index) removeFrom(ids []int64) error {
	found := 0
	err := x.change(func(c *conn, list []*segment) ([]*segment, error) {
		left := list[:0]
		for _, s := range list {
			next, n, err := s.without(c, ids, x.nextSegment)
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
		x.traces = true
	}
	return err
}

// truncate empties the write-ahead log after something was taken out. If searches overlap
// for so long that there is no gap, they wait for it.
func (x *Index) truncate() error {
	if !x.traces {
		return nil
	}
	empty := func() error {
		busy, err := x.conn.integer("PRAGMA wal_checkpoint(TRUNCATE)")
		x.traces = err != nil || busy != 0
		return err
	}
	if err := empty(); err != nil || !x.traces {
		return err
	}
	return x.alone(empty)
}

// merge makes one large segment of small ones.
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

// mergeable returns segments that are beside each other and make a large one, or nil.
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

// finish writes what is left when the index is closed.
func (x *Index) finish() {
	err := x.writeAll()
	if x.conn == nil {
		return
	}
	x.mu.Lock()
	whole := err == nil && x.verified.Load() == 0 && len(x.items) == 0 && len(x.removals) == 0
	x.mu.Unlock()
	if whole && x.mark != nil {
		err = x.conn.exec(putMeta, keyClosed, x.mark)
	}
	if err != nil {
		x.options.Logger.Warn("the search index was not closed well: it will be compared with the messages", "error", faults.Text(err))
	}
	x.traces = true
	if err := errors.Join(x.truncate(), x.conn.close()); err != nil {
		x.options.Logger.Warn("closing the search index failed", "error", faults.Text(err))
	}
	x.conn = nil
}

func (x *Index) writeAll() error {
	if err := x.ready(); err != nil {
		return err
	}
	if _, err := x.remove(true); err != nil {
		return err
	}
	for x.settle(context.Background()) > 0 {
		if err := x.flush(); err != nil {
			return err
		}
	}
	return nil
}
