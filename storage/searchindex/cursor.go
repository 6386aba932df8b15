package searchindex

import (
	"errors"
	"slices"
	"time"

	"github.com/imapi/imapi/search"
)

const (
	// stretchFirst is how many messages of the file are looked at first, then it is four
	// times as many each time: a common word is found among the newest, and a rare one
	// in few steps.
	stretchFirst  = 4096
	stretchFactor = 4
	// fewDocuments is up to how many documents are asked whether they have an entry,
	// where there are more lists than that to be read.
	fewDocuments = 64
	// fewConversations is up to how many conversations are looked for in the lists.
	fewConversations = 64
)

// Query is what a search looks for.
type Query struct {
	// Words are groups of entries: a message has one at least of each. There is one
	// group at least, or else a few Conversations.
	Words search.Query
	// Conversations are those to look in; nil are all.
	Conversations map[int64]bool
	// From and Below are the least id, and the one that all are below.
	From, Below int64
}

// Telling reports whether the index can tell what is looked for from what is not.
func (q Query) Telling() bool {
	return len(q.Words) > 0 || q.Conversations != nil && len(q.Conversations) <= fewConversations
}

// Cursor is a search under way. It is used by one goroutine, and has to be closed.
type Cursor struct {
	x *Index
	q Query
	// in are the entries of the conversations, as those of their messages are stored.
	in    map[uint32]bool
	all   search.Query // the words, and the conversations if they are few
	conn  *conn
	floor int64
	width int
	last  int64 // the id that was returned last

	sources []source
	broken  bool
}

// source is something in which messages are found, the greatest id first.
type source interface {
	// next is the greatest id that may be found next, and whether that is found.
	// It is less than 0 if there is none.
	next() (id int64, found bool)
	// step goes on to where something is found, or a little.
	step(c *Cursor) error
	// pass goes past what was found.
	pass()
}

// Search begins a search. What it finds was committed before, and is not erased as far as
// the index knows; it may have the words.
func (x *Index) Search(q Query) (*Cursor, error) {
	c := &Cursor{x: x, q: q, width: stretchFirst, last: q.Below}
	if q.Conversations != nil {
		c.in = make(map[uint32]bool, len(q.Conversations))
		for id := range q.Conversations {
			c.in[uint32(x.hasher.Conversation(id))] = true
		}
	}
	// In this order: what leaves the memory is in the file before, and what the
	// comparison has come to, too.
	c.floor = max(x.verified.Load(), q.From)
	m := x.memory.Load()
	if c.floor >= q.Below {
		c.floor = max(q.Below, q.From)
	}
	c.sources = append(c.sources, c.ofMemory(m.sorted))
	if len(m.tail) > 0 {
		tail := slices.Clone(m.tail)
		slices.SortFunc(tail, byID)
		c.sources = append(c.sources, c.ofMemory(tail))
	}
	if c.floor >= q.Below { // there is nothing in the file
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

// openFile takes a connection, begins a transaction, and returns what the file has then.
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

// Floor is the id from which on Next finds everything. Messages below it are to be looked
// at one by one.
func (c *Cursor) Floor() int64 { return c.floor }

// Next returns the next messages, the greatest ids first, up to a number, and the id from
// which on all were returned. It returns early, with those that it has, at a time.
func (c *Cursor) Next(limit int, until time.Time) (ids []int64, through int64, err error) {
	for {
		best, at, found := int64(-1), -1, false
		for i, s := range c.sources {
			// What is found comes first, so that it is told once.
			if id, there := s.next(); id > best || id == best && there {
				best, at, found = id, i, there
			}
		}
		switch {
		case best < c.floor:
			return ids, c.floor, nil
		case !found:
			if !time.Now().Before(until) {
				return ids, best + 1, nil
			}
			if err := c.sources[at].step(c); err != nil {
				c.broken = true
				return ids, best + 1, err
			}
		default:
			c.sources[at].pass()
			if best < c.last { // one may be in memory and in the file
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

// Report tells the index of an error that a search has met, other than [ErrClosed]. A
// damaged file is made anew.
func (x *Index) Report(err error) {
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

// memorySource finds in memory.
type memorySource struct {
	list []*item // those that are left
	at   int64
	c    *Cursor
}

// ofMemory returns a source of messages that are sorted.
func (c *Cursor) ofMemory(list []*item) *memorySource {
	n, _ := slices.BinarySearchFunc(list, c.q.Below, func(i *item, id int64) int { return compare(i.id, id) })
	s := &memorySource{list: list[:n], c: c}
	s.seek()
	return s
}

// seek goes on to one that has what is looked for.
func (s *memorySource) seek() {
	s.at = -1
	for n := len(s.list); n > 0; n-- {
		it := s.list[n-1]
		if it.id < s.c.q.From {
			break
		}
		if it.gone.Load() || s.c.q.Conversations != nil && !s.c.q.Conversations[it.conversation] {
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

// fileSource finds in a segment.
type fileSource struct {
	s *segment
	// high is the number below which the segment is still to be looked at, bound the
	// greatest id that one of those may have.
	high  int
	bound int64
	found []int64 // rising
}

func newFileSource(s *segment, below int64) *fileSource {
	f := &fileSource{s: s, high: s.size, bound: min(s.last, below-1)}
	if below <= s.last {
		chunk, _ := s.chunkOf(below)
		f.high = min((chunk+1)*chunkSize, s.size)
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

// step looks at the next stretch.
func (f *fileSource) step(c *Cursor) error {
	low := 0
	if f.high > c.width {
		low = (f.high - c.width) / chunkSize * chunkSize
	}
	numbers, err := c.numbers(f.s, low, f.high)
	if err == nil {
		f.found, err = c.named(f.s, numbers)
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

// groups returns what all of a document's entries must be among, those with the fewest
// lists first.
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

// numbers returns the numbers, rising, from low to below high, of the documents of a
// segment that have what is looked for.
func (c *Cursor) numbers(s *segment, low, high int) (found []int, err error) {
	var room []pair
	for i, group := range c.groups() {
		if i > 0 && len(found) <= fewDocuments && len(found) <= 2*len(group) {
			return c.having(s, found, c.groups()[i:])
		}
		var list []int
		for _, e := range group {
			if list, err = s.numbers(c.conn, e, low, high, list, &room); err != nil {
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
			found = both(found, list)
		}
		if len(found) == 0 {
			return nil, nil
		}
	}
	return found, nil
}

// both returns what is in both; they rise.
func both(a, b []int) []int {
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

// having returns those of the documents that have one entry at least of each group.
func (c *Cursor) having(s *segment, numbers []int, groups search.Query) ([]int, error) {
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

// named returns the ids of documents in the conversations that are looked in; they rise.
func (c *Cursor) named(s *segment, numbers []int) (ids []int64, err error) {
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
		if !d.gone && d.id < c.q.Below && d.id >= c.floor && (c.in == nil || c.in[d.conversation]) {
			ids = append(ids, d.id)
		}
	}
	return ids, nil
}
