package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/search"
)

// The newest messages are in the index of no file yet, but in memory. For FTS5
// takes in many at once for a fraction of what it takes one by one, and to take
// one out again costs many times as much as to put it in: most of what is taken
// back was just sent, and then the file never had it. Up to which id messages are
// in the file's index, it says itself (search_through); those after it are read
// again when it is opened.
const (
	// recentMost is how many messages are kept in memory, and recentEntries how
	// many entries they may have together, of 8 bytes.
	recentMost    = 16_384
	recentEntries = 1 << 20
	// recentBatch is how many of them go to the file at once: some 20 ms of the
	// writer's time.
	recentBatch = 512
)

const (
	selectThrough = "SELECT value FROM meta WHERE key = 'search_through'"
	putThrough    = "UPDATE meta SET value = ? WHERE key = 'search_through'"
	// selectNotErased are those of a list of messages that have not been erased.
	selectNotErased = `SELECT m.id FROM json_each(?1) AS j CROSS JOIN messages m ON m.id = j.value WHERE m.state = 1`
	selectAfter     = "SELECT " + messageColumns + withContent + " FROM messages m" + messageUsers +
		"WHERE m.id > ? ORDER BY m.id LIMIT ?"
)

// recentMessage is a message that is not in the file's index yet.
type recentMessage struct {
	id, conversation int64
	// entries are nil once it was erased.
	entries atomic.Pointer[[]search.Entry]
}

func newRecent(m im.Message, entries []search.Entry) *recentMessage {
	r := &recentMessage{id: int64(m.ID), conversation: int64(m.Conversation)}
	r.entries.Store(&entries)
	return r
}

// recentIndex are those of all transactions that were committed. The writer
// changes it, readers look at a list that was.
type recentIndex struct {
	list atomic.Pointer[[]*recentMessage] // their ids rise

	most int // recentMost

	// Of the writer alone:

	entries int
	// spare is how many more are kept, for they could not be written.
	spare int
}

// all returns the messages, in the order of their ids.
func (x *recentIndex) all() []*recentMessage {
	if list := x.list.Load(); list != nil {
		return *list
	}
	return nil
}

// add takes in what a transaction has brought and lets go of what it has
// written to the file and of what it has erased.
func (x *recentIndex) add(fresh []*recentMessage, through int64, erased []int64) {
	list := x.all()
	if len(fresh) > 0 {
		inOrder := slices.IsSortedFunc(fresh, byID) && (len(list) == 0 || list[len(list)-1].id < fresh[0].id)
		list = append(list, fresh...) // behind what readers look at
		if !inOrder {
			list = slices.SortedFunc(slices.Values(list), byID)
		}
		for _, m := range fresh {
			x.entries += len(*m.entries.Load())
		}
	}
	for _, id := range erased {
		if at, found := findRecent(list, id); found {
			x.release(list[at])
		}
	}
	if n, _ := findRecent(list, through+1); n > 0 {
		for _, m := range list[:n] { // readers of an older snapshot need them yet
			if e := m.entries.Load(); e != nil {
				x.entries -= len(*e)
			}
		}
		list = slices.Clone(list[n:])
	}
	x.list.Store(&list)
}

// release lets go of what an erased message says.
func (x *recentIndex) release(m *recentMessage) {
	if old := m.entries.Swap(nil); old != nil {
		x.entries -= len(*old)
	}
}

// over returns how many are to be written to the file now, 0 if there is room.
func (x *recentIndex) over() int {
	n := len(x.all()) - x.most - x.spare
	if n <= 0 && x.entries <= recentEntries {
		return 0
	}
	return min(max(n, 0)+recentBatch, 2*recentBatch, len(x.all()))
}

func byID(a, b *recentMessage) int {
	switch {
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}

func findRecent(list []*recentMessage, id int64) (int, bool) {
	return slices.BinarySearchFunc(list, id, func(m *recentMessage, id int64) int { return byID(m, &recentMessage{id: id}) })
}

// indexedThrough returns the id up to which messages are in the file's index.
func (r *reader) indexedThrough() (through int64, err error) {
	found, err := r.session.row(selectThrough, nil, &through)
	if err == nil && !found {
		err = errors.New("how far the search index goes is missing")
	}
	return through, err
}

// writeRecent writes the oldest recent messages to the file's index. Those of
// the transaction's own that are older than the newest of them go with them.
func (t *tx) writeRecent(n int) error {
	list := t.index.all()[:n]
	if n == 0 {
		return nil
	}
	last := list[n-1].id
	var ids []int64
	entries := map[int64][]search.Entry{}
	for _, m := range slices.Concat(list, t.fresh) {
		if e := m.entries.Load(); e != nil && m.id <= last {
			ids = append(ids, m.id)
			entries[m.id] = *e
		}
	}
	slices.Sort(ids)
	active, err := t.notErased(ids)
	if err != nil {
		return err
	}
	for _, id := range active {
		if _, err := t.session.exec(insertEntries, id, search.Text(entries[id])); err != nil {
			return err
		}
	}
	t.written = last
	return t.must(putThrough, last)
}

// notErased returns those of the messages that are.
func (t *tx) notErased(ids []int64) (list []int64, err error) {
	numbers, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	err = t.session.query(selectNotErased, []any{string(numbers)}, func(rows *sql.Rows) (bool, error) {
		var id int64
		err := rows.Scan(&id)
		list = append(list, id)
		return true, err
	})
	return list, err
}

// load reads the messages again that are not in the file's index. Where it finds
// others before the first of them, it says that these need not be read again.
func (x *recentIndex) load(s *session, sealer *sealer) error {
	r := &reader{session: s, sealer: sealer}
	through, err := r.indexedThrough()
	if err != nil {
		return err
	}
	var list []*recentMessage
	last := through
	for full := true; full; {
		n := 0
		err := s.query(selectAfter, []any{last, recentBatch}, func(rows *sql.Rows) (bool, error) {
			m, err := r.scanMessage(rows)
			last, n = int64(m.ID), n+1
			if errors.Is(err, errContent) {
				return true, nil
			}
			if err != nil || m.State != im.Active {
				return true, err
			}
			entries, err := s.entriesOf(m)
			if len(entries) > 0 {
				list = append(list, newRecent(m, entries))
			}
			return true, err
		})
		if err != nil {
			return err
		}
		full = n == recentBatch
	}
	x.list.Store(nil)
	x.entries = 0
	x.add(list, 0, nil)
	if len(list) > 0 {
		last = list[0].id - 1
	}
	if last <= through {
		return nil
	}
	_, err = s.exec(putThrough, last)
	return err
}
