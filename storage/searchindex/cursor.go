package searchindex

import (
	"errors"
	"slices"
	"time"

	"github.com/imapi/imapi/search"
)

const (
	// stretchFirst is the number of messages of a segment that the first step searches. Each
	// further step of the search, up to maxDocuments, searches stretchFactor times as many as the
	// previous step: a common word is found among the newest messages, a rare one in few steps.
	stretchFirst  = 4096
	stretchFactor = 4
	// fewDocuments is the maximum number of candidates whose stored entries are read, one by one,
	// in place of the lists of a further group. That costs less if the group has at least half as
	// many lists.
	fewDocuments = 64
	// fewConversations is the maximum number of conversations that are looked up in the lists.
	fewConversations = 64
)

// Query is what to search for.
type Query struct {
	// Words are groups of entries: a message must have at least one entry of each group.
	// There must be at least one group, or few Conversations.
	Words search.Query
	// Conversations are the conversations to search; nil means all.
	Conversations map[int64]bool
	// From and Below bound the ids; From is included, Below is excluded.
	From, Below int64
}

// Selective reports whether the index can narrow the search down.
func (q Query) Selective() bool {
	return len(q.Words) > 0 || q.Conversations != nil && len(q.Conversations) <= fewConversations
}

// Cursor is a search in progress. It must be used by one goroutine and closed.
type Cursor struct {
	x *Index
	q Query
	// in holds the conversations' entries, as stored with their messages.
	in    map[uint32]bool
	all   search.Query // the words, and the conversations if few
	conn  *conn
	floor int64
	width int
	last  int64 // the last id returned

	sources []source
	broken  bool
}

// source yields messages by descending id.
type source interface {
	// next returns the greatest id that may come next, and whether it is a result already.
	// The id is negative if the source is exhausted.
	next() (id int64, found bool)
	// step searches for the next result, or a part of the way.
	step(c *Cursor) error
	// pass skips the current result.
	pass()
}

// Search begins a search. It finds messages that were committed before, except those that the index
// knows to be erased. The results are candidates: the caller compares their text.
func (x *Index) Search(q Query) (*Cursor, error) {
	c := &Cursor{x: x, q: q, width: stretchFirst, last: q.Below}
	if q.Conversations != nil {
		c.in = make(map[uint32]bool, len(q.Conversations))
		for id := range q.Conversations {
			c.in[uint32(x.hasher.Conversation(id))] = true
		}
	}
	// Read verified, then memory, then the file: messages leave memory only once they are in the
	// file, and verified decreases only once the file is complete above it.
	c.floor = max(x.verified.Load(), q.From)
	m := x.memory.Load()
	if c.floor >= q.Below {
		c.floor = max(q.Below, q.From)
	}
	c.sources = append(c.sources, c.inMemory(m.sorted))
	if len(m.tail) > 0 {
		tail := slices.Clone(m.tail)
		slices.SortFunc(tail, byID)
		c.sources = append(c.sources, c.inMemory(tail))
	}
	if c.floor >= q.Below { // memory has all of the range
		return c, nil
	}
	list, err := c.openFile()
	if err != nil {
		c.Close()
		return nil, err
	}
	for _, s := range list {
		if s.last >= c.floor && s.first() < q.Below {
			c.sources = append(c.sources, newFileSource(s, q.Below))
		}
	}
	return c, nil
}

// openFile takes a connection, begins a transaction, and returns the segments in it.
func (c *Cursor) openFile() ([]*segment, error) {
	var conn *conn
	select {
	case conn = <-c.x.conns:
	case <-c.x.closed:
		return nil, ErrClosed
	}
	if conn == nil {
		var err error
		if conn, err = openConn(c.x.path, c.x.options.fault); err != nil {
			c.x.conns <- nil
			return nil, err
		}
	}
	c.conn = conn
	if err := conn.script("BEGIN"); err != nil {
		c.broken = true
		return nil, err
	}
	generation, err := conn.integer(selectMeta, keyGeneration)
	if err != nil {
		c.broken = true
		return nil, err
	}
	if now := c.x.stored.Load(); now.generation == generation {
		return now.segments, nil
	}
	list, err := readSegments(conn)
	c.broken = err != nil
	return list, err
}

// Floor returns the least id of the messages that Next searches. The caller must examine the
// messages with lower ids one by one.
func (c *Cursor) Floor() int64 { return c.floor }

// Next returns up to limit candidates, the greatest ids first, and the id down to which all
// have been returned. Once until has passed it returns those found so far, after one step at least:
// otherwise a busy machine would get nowhere.
func (c *Cursor) Next(limit int, until time.Time) (ids []int64, through int64, err error) {
	for steps := 0; ; {
		best, at, found := int64(-1), -1, false
		for i, s := range c.sources {
			// Prefer a result to a bound, so that a message in two sources is returned once.
			if id, isResult := s.next(); id > best || id == best && isResult {
				best, at, found = id, i, isResult
			}
		}
		switch {
		case best < c.floor:
			return ids, c.floor, nil
		case !found:
			if steps > 0 && !time.Now().Before(until) {
				return ids, best + 1, nil
			}
			steps++
			if err := c.sources[at].step(c); err != nil {
				c.broken = true
				return ids, best + 1, err
			}
		default:
			c.sources[at].pass()
			if best < c.last { // it is equal for a message that is both in memory and in the file
				ids, c.last = append(ids, best), best
			}
			if len(ids) >= limit {
				return ids, best, nil
			}
		}
	}
}

// Close ends the search.
func (c *Cursor) Close() {
	conn := c.conn
	if conn == nil {
		return
	}
	c.conn = nil
	if !conn.raw.AutoCommit() {
		if _, err := conn.raw.Exec("ROLLBACK", nil); err != nil {
			c.broken = true
		}
	}
	if c.broken {
		_ = conn.close()
		conn = nil
	}
	c.x.conns <- conn
}

// ReportError passes an error of a search to the index, except [ErrClosed]. The index
// rebuilds a damaged file.
func (x *Index) ReportError(err error) {
	if errors.Is(err, ErrClosed) {
		return
	}
	x.failed(err)
	if isDamaged(err) {
		x.mu.Lock()
		x.damaged = true
		x.mu.Unlock()
	}
	x.signal()
}

// memorySource searches the messages in memory.
type memorySource struct {
	list []*item // not searched yet
	at   int64
	c    *Cursor
}

// inMemory returns a source for messages sorted by id.
func (c *Cursor) inMemory(list []*item) *memorySource {
	n, _ := slices.BinarySearchFunc(list, c.q.Below, func(i *item, id int64) int { return compare(i.id, id) })
	s := &memorySource{list: list[:n], c: c}
	s.seek()
	return s
}

// seek moves to the next message that matches.
func (s *memorySource) seek() {
	s.at = -1
	for n := len(s.list); n > 0; n-- {
		it := s.list[n-1]
		if it.id < s.c.q.From {
			break
		}
		if it.erased.Load() || s.c.q.Conversations != nil && !s.c.q.Conversations[it.conversation] {
			continue
		}
		if s.c.q.Words.In(it.hashed(s.c.x.hasher)) {
			s.list, s.at = s.list[:n-1], it.id
			return
		}
	}
	s.list = nil
}

func (s *memorySource) next() (int64, bool) { return s.at, true }
func (s *memorySource) step(*Cursor) error  { return nil }
func (s *memorySource) pass()               { s.seek() }

// fileSource searches a segment.
type fileSource struct {
	s *segment
	// high is the number below which the segment is not searched yet. bound is the greatest
	// id that a message below it may have.
	high  int
	bound int64
	found []int64 // ascending
}

func newFileSource(s *segment, below int64) *fileSource {
	f := &fileSource{s: s, high: s.size, bound: min(s.last, below-1)}
	if below <= s.last {
		f.high = min((s.chunkOf(below)+1)*chunkSize, s.size)
	}
	return f
}

func (f *fileSource) next() (int64, bool) {
	if n := len(f.found); n > 0 {
		return f.found[n-1], true
	}
	return f.bound, false
}

func (f *fileSource) pass() { f.found = f.found[:len(f.found)-1] }

// step searches the next stretch.
func (f *fileSource) step(c *Cursor) error {
	low := 0
	if f.high > c.width {
		low = (f.high - c.width) / chunkSize * chunkSize
	}
	numbers, err := c.numbers(f.s, low, f.high)
	if err == nil {
		f.found, err = c.idsOf(f.s, numbers)
	}
	if err != nil {
		return err
	}
	f.high = low
	f.bound = -1
	if low > 0 {
		f.bound = f.s.chunks[low/chunkSize] - 1
	}
	if c.width < maxDocuments {
		c.width *= stretchFactor
	}
	return nil
}

// groups returns the groups of entries; a message must have at least one entry of each. Words come
// first, those with the fewest lists before the others.
func (c *Cursor) groups() search.Query {
	if c.all == nil {
		c.all = slices.Clone(c.q.Words)
		slices.SortStableFunc(c.all, func(a, b []search.Entry) int { return len(a) - len(b) })
		if c.q.Conversations != nil && len(c.q.Conversations) <= fewConversations {
			var list []search.Entry
			for id := range c.q.Conversations {
				list = append(list, c.x.hasher.Conversation(id))
			}
			c.all = append(c.all, list)
		}
	}
	return c.all
}

// numbers returns the numbers of the matching documents of a segment, in ascending order: those
// from low to below high.
func (c *Cursor) numbers(s *segment, low, high int) (found []int, err error) {
	var buf []pair
	for i, group := range c.groups() {
		if i > 0 && len(found) <= fewDocuments && len(found) <= 2*len(group) {
			return c.filter(s, found, c.groups()[i:])
		}
		var list []int
		for _, e := range group {
			if list, err = s.numbers(c.conn, e, low, high, list, &buf); err != nil {
				return nil, err
			}
		}
		if len(group) > 1 {
			slices.Sort(list)
			list = slices.Compact(list)
		}
		if i == 0 {
			found = list
		} else {
			found = intersect(found, list)
		}
		if len(found) == 0 {
			return nil, nil
		}
	}
	return found, nil
}

// intersect returns the numbers in both lists, which are ascending.
func intersect(a, b []int) []int {
	list := a[:0]
	for _, n := range a {
		for len(b) > 0 && b[0] < n {
			b = b[1:]
		}
		if len(b) == 0 {
			break
		}
		if b[0] == n {
			list = append(list, n)
		}
	}
	return list
}

// filter returns the documents that have at least one entry of each group.
func (c *Cursor) filter(s *segment, numbers []int, groups search.Query) ([]int, error) {
	list := numbers[:0]
	for _, n := range numbers {
		b, err := c.conn.bytes(selectDocument, s.at(n))
		if err != nil {
			return nil, err
		}
		entries, err := unpackEntries(b)
		if err != nil {
			return nil, err
		}
		if groups.In(entries) {
			list = append(list, n)
		}
	}
	return list, nil
}

// idsOf returns the ids of those documents that are not deleted, within the bounds of the search
// and in the searched conversations, ascending.
func (c *Cursor) idsOf(s *segment, numbers []int) (ids []int64, err error) {
	var chunk []numbered
	at := -1
	for _, n := range numbers {
		if n/chunkSize != at {
			at = n / chunkSize
			if chunk, err = s.chunk(c.conn, at); err != nil {
				return nil, err
			}
		}
		if n%chunkSize >= len(chunk) {
			return nil, errDamaged
		}
		d := chunk[n%chunkSize]
		if !d.deleted && d.id < c.q.Below && d.id >= c.floor && (c.in == nil || c.in[d.conversation]) {
			ids = append(ids, d.id)
		}
	}
	return ids, nil
}
