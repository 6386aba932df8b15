package searchindex

import (
	"context"
	"slices"
	"time"
)

const (
	// verifyBatch is the number of messages of the database that one step compares.
	verifyBatch = 4096
	// buildFirst is the number of missing messages with which a comparison writes its first
	// segment. For each further segment it is four times as large, up to maxDocuments, so that the
	// newest messages are indexed soon.
	buildFirst = 4096
)

// verifier is the state of a comparison.
type verifier struct {
	// next is the id below which the file has yet to be compared, 0 if there is none.
	next int64
	// missing are documents from next on that the file lacks.
	missing    []document
	target     int
	done       int64
	rebuilding []*rebuild
	// recreated is set while the file is being rebuilt, and reported is the time of the last line
	// in the log about it.
	recreated bool
	reported  time.Time
}

// ensureOpen ensures that the file is open. It creates a new file if Reindex was called, and
// returns errDamaged if a search found the file damaged.
func (x *Index) ensureOpen() error {
	x.mu.Lock()
	asked, damaged := x.rebuilds, x.damaged
	x.rebuilds, x.damaged = nil, false
	x.mu.Unlock()
	x.rebuilding = append(x.rebuilding, asked...)
	switch {
	case damaged:
		return errDamaged
	case len(asked) > 0:
		return x.recreate()
	case x.conn == nil:
		return x.open()
	}
	return nil
}

// verify compares a batch of the database with the file, the newest first, and reports
// whether there is more. It adds what the file lacks and deletes what the database does not have.
func (x *Index) verify(ctx context.Context) (more bool, err error) {
	x.mu.Lock()
	if x.verifyBelow > 0 {
		if x.verifyBelow >= x.next {
			x.next, x.missing, x.target, x.done = x.verified.Load(), nil, buildFirst, 0
		}
		x.verifyBelow = 0
	}
	x.mu.Unlock()
	if x.next == 0 {
		return false, nil
	}
	ids, err := x.options.Source.Searchable(ctx, x.next, verifyBatch)
	if err != nil {
		return false, err
	}
	low := int64(0)
	if len(ids) == verifyBatch {
		low = ids[len(ids)-1]
	}
	slices.Sort(ids)
	have, err := x.between(low, x.next)
	if err != nil {
		return false, err
	}
	excess := slices.DeleteFunc(slices.Clone(have), func(id int64) bool { _, found := slices.BinarySearch(ids, id); return found })
	if len(excess) > 0 {
		if err := x.deleteFrom(excess); err != nil {
			return false, err
		}
	}
	lacks, err := x.missingFrom(ctx, ids, have)
	if err != nil {
		return false, err
	}
	missing := append(slices.Clip(x.missing), lacks...)
	if n := len(missing); n > 0 && (n >= x.target || low == 0) {
		slices.SortFunc(missing, func(a, b document) int { return compare(a.id, b.id) })
		for part := range slices.Chunk(missing, maxDocuments) {
			if err := x.put(part); err != nil {
				return false, err
			}
		}
		missing, x.target = nil, min(4*x.target, maxDocuments)
	}
	x.next, x.missing = low, missing
	x.done += int64(len(ids))
	x.mu.Lock()
	if x.verifyBelow == 0 && len(x.missing) == 0 {
		x.verified.Store(low)
	}
	x.mu.Unlock()
	for _, r := range x.rebuilding {
		r.progress(x.done, r.total)
	}
	if x.recreated {
		if err := x.report(ctx, low == 0); err != nil {
			return false, err
		}
	}
	if low > 0 {
		return true, nil
	}
	for _, r := range x.rebuilding {
		close(r.done)
	}
	x.rebuilding = nil
	return false, nil
}

// report logs how far the rebuild is, at most every reportEvery, and its end. The file of a new
// database is not worth a line.
func (x *Index) report(ctx context.Context, complete bool) error {
	if complete {
		x.recreated = false
		if x.done > 0 {
			x.options.Logger.InfoContext(ctx, "search index rebuilt", "messages", x.done)
		}
		return nil
	}
	now := x.options.now()
	if now.Sub(x.reported) < reportEvery {
		return nil
	}
	x.reported = now
	total, err := x.options.Source.CountSearchable(ctx)
	if err == nil {
		x.options.Logger.InfoContext(ctx, "rebuilding the search index", "messages", x.done, "total", total)
	}
	return err
}

// missingFrom returns the messages among ids that are neither in the file nor in x.items. have are
// the ids in the file.
func (x *Index) missingFrom(ctx context.Context, ids, have []int64) (missing []document, err error) {
	var list []int64
	x.mu.Lock()
	for _, id := range ids {
		if _, found := slices.BinarySearch(have, id); !found && x.items[id] == nil {
			list = append(list, id)
		}
	}
	x.mu.Unlock()
	if len(list) == 0 {
		return nil, nil
	}
	docs, err := x.options.Source.Documents(ctx, list)
	for _, d := range docs {
		missing = append(missing, document{
			id: d.ID, conversation: uint32(x.hasher.Conversation(d.Conversation)),
			entries: x.hasher.Document(d.Words(), d.Conversation, d.Kind),
		})
	}
	return missing, err
}

// between returns the ids in the file from low to below high, in ascending order.
func (x *Index) between(low, high int64) (ids []int64, err error) {
	for _, s := range x.stored.Load().segments {
		if s.last < low || s.first() >= high {
			continue
		}
		n := s.chunkOf(max(low, s.first()))
		for ; n < len(s.chunks) && s.chunks[n] < high; n++ {
			chunk, err := s.chunk(x.conn, n)
			if err != nil {
				return nil, err
			}
			for _, d := range chunk {
				if !d.deleted && d.id >= low && d.id < high {
					ids = append(ids, d.id)
				}
			}
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// forget drops erased messages from the documents to add.
func (x *Index) forget(deleted []int64) {
	x.missing = slices.DeleteFunc(x.missing, func(d document) bool { _, found := slices.BinarySearch(deleted, d.id); return found })
}
