package searchindex

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
	"slices"

	"github.com/imapi/imapi/search"
)

// chunkSize is the number of ids in a chunk, which is one row.
const chunkSize = 64

const schema = `
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value ANY  NOT NULL
) STRICT, WITHOUT ROWID;

-- chunks holds the first id of each chunk, blocks the first pair of each block, both from
-- when the segment was built: integers of 8 bytes, little-endian.
CREATE TABLE segments (
    id     INTEGER PRIMARY KEY,
    size   INTEGER NOT NULL, -- messages it was built from
    live   INTEGER NOT NULL, -- messages that are not deleted
    last   INTEGER NOT NULL, -- the greatest id
    chunks BLOB    NOT NULL,
    blocks BLOB    NOT NULL
) STRICT;

-- at is the segment's id << 24 plus the number of the chunk. For each message ids has the id
-- in 8 bytes, negative if the message was deleted, and 4 bytes of its conversation's entry.
CREATE TABLE ids (
    at  INTEGER PRIMARY KEY,
    ids BLOB NOT NULL
) STRICT;

-- at is the segment's id << 24 plus the number of the message.
CREATE TABLE documents (
    at      INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
) STRICT;

-- at is the segment's id << 24 plus the number of the block.
CREATE TABLE lists (
    at    INTEGER PRIMARY KEY,
    pairs BLOB NOT NULL
) STRICT;
`

const (
	insertSegment   = "INSERT INTO segments (id, size, live, last, chunks, blocks) VALUES (?, ?, ?, ?, ?, ?)"
	updateLive      = "UPDATE segments SET live = ? WHERE id = ?"
	deleteSegment   = "DELETE FROM segments WHERE id = ?"
	selectSegments  = "SELECT id, size, live, last, chunks, blocks FROM segments ORDER BY id"
	insertIDs       = "INSERT INTO ids (at, ids) VALUES (?, ?)"
	updateIDs       = "UPDATE ids SET ids = ? WHERE at = ?"
	selectIDs       = "SELECT ids FROM ids WHERE at = ?"
	deleteIDs       = "DELETE FROM ids WHERE at BETWEEN ? AND ?"
	insertDocument  = "INSERT INTO documents (at, entries) VALUES (?, ?)"
	selectDocument  = "SELECT entries FROM documents WHERE at = ?"
	selectDocuments = "SELECT at, entries FROM documents WHERE at BETWEEN ? AND ? ORDER BY at"
	deleteDocument  = "DELETE FROM documents WHERE at = ?"
	deleteDocuments = "DELETE FROM documents WHERE at BETWEEN ? AND ?"
	insertBlock     = "INSERT INTO lists (at, pairs) VALUES (?, ?)"
	selectBlock     = "SELECT pairs FROM lists WHERE at = ?"
	updateBlock     = "UPDATE lists SET pairs = ? WHERE at = ?"
	deleteBlock     = "DELETE FROM lists WHERE at = ?"
	deleteBlocks    = "DELETE FROM lists WHERE at BETWEEN ? AND ?"
)

// segment is the part of a segment that is kept in memory. It is immutable; deleting
// messages makes a new one.
type segment struct {
	id         int64
	size, live int
	last       int64
	chunks     []int64
	blocks     []pair
}

// at returns the key of the segment's nth row in a table.
func (s *segment) at(n int) int64 { return s.id<<24 | int64(n) }

// end returns the greatest key that a row of the segment can have.
func (s *segment) end() int64 { return s.at(1<<24 - 1) }

// first returns the least id.
func (s *segment) first() int64 { return s.chunks[0] }

// chunkOf returns the chunk that an id is in if the segment has it: -1 for an id before
// the first one, the last chunk for an id after the last one.
func (s *segment) chunkOf(id int64) int {
	at, found := slices.BinarySearch(s.chunks, id)
	if !found {
		at--
	}
	return at
}

// document is a message as stored in the file.
type document struct {
	id           int64
	conversation uint32
	entries      []search.Entry
}

// numbered is an id in a chunk.
type numbered struct {
	id           int64
	conversation uint32
	deleted      bool
}

const idSize = 12

func packIDs(list []numbered) []byte {
	b := make([]byte, 0, idSize*len(list))
	for _, n := range list {
		id := n.id
		if n.deleted {
			id = -id
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(id))
		b = binary.LittleEndian.AppendUint32(b, n.conversation)
	}
	return b
}

func unpackIDs(b []byte) ([]numbered, error) {
	if len(b) == 0 || len(b)%idSize != 0 {
		return nil, errDamaged
	}
	list := make([]numbered, 0, len(b)/idSize)
	for c := range slices.Chunk(b, idSize) {
		n := numbered{id: int64(binary.LittleEndian.Uint64(c)), conversation: binary.LittleEndian.Uint32(c[8:])}
		if n.id < 0 {
			n.id, n.deleted = -n.id, true
		}
		list = append(list, n)
	}
	return list, nil
}

func packNumbers[T ~int64 | ~uint64](list []T) []byte {
	b := make([]byte, 0, 8*len(list))
	for _, n := range list {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func unpackNumbers[T ~int64 | ~uint64](v driver.Value) ([]T, error) {
	b, ok := v.([]byte)
	if !ok || len(b)%8 != 0 {
		return nil, errDamaged
	}
	list := make([]T, 0, len(b)/8)
	for c := range slices.Chunk(b, 8) {
		list = append(list, T(binary.LittleEndian.Uint64(c)))
	}
	return list, nil
}

// readSegments reads all segments of the file.
func readSegments(c *conn) (list []*segment, err error) {
	err = c.query(selectSegments, nil, func(row []driver.Value) (_ bool, err error) {
		var number [4]int64
		for i := range number {
			var ok bool
			if number[i], ok = row[i].(int64); !ok {
				return false, errDamaged
			}
		}
		s := &segment{id: number[0], size: int(number[1]), live: int(number[2]), last: number[3]}
		if s.chunks, err = unpackNumbers[int64](row[4]); err != nil {
			return false, err
		}
		if s.blocks, err = unpackNumbers[pair](row[5]); err != nil {
			return false, err
		}
		if len(s.chunks) == 0 || s.size > maxDocuments || len(s.chunks) != (s.size+chunkSize-1)/chunkSize || !slices.IsSorted(s.chunks) {
			return false, errDamaged
		}
		list = append(list, s)
		return true, nil
	})
	return list, err
}

// build writes a segment of documents sorted by id, at most maxDocuments.
func build(c *conn, id int64, docs []document) (*segment, error) {
	s := &segment{id: id, size: len(docs), live: len(docs), last: docs[len(docs)-1].id}
	entries := 0
	for _, d := range docs {
		entries += len(d.entries)
	}
	pairs := make([]pair, 0, entries)
	for n, d := range docs {
		for _, e := range d.entries {
			pairs = append(pairs, pairOf(e, n))
		}
		if err := c.exec(insertDocument, s.at(n), packEntries(d.entries)); err != nil {
			return nil, err
		}
	}
	for chunk := range slices.Chunk(docs, chunkSize) {
		list := make([]numbered, len(chunk))
		for i, d := range chunk {
			list[i] = numbered{id: d.id, conversation: d.conversation}
		}
		if err := c.exec(insertIDs, s.at(len(s.chunks)), packIDs(list)); err != nil {
			return nil, err
		}
		s.chunks = append(s.chunks, chunk[0].id)
	}
	slices.Sort(pairs)
	for len(pairs) > 0 {
		first := pairs[0]
		var block []byte
		block, pairs = encodeBlock(pairs, blockSize)
		if err := c.exec(insertBlock, s.at(len(s.blocks)), block); err != nil {
			return nil, err
		}
		s.blocks = append(s.blocks, first)
	}
	return s, c.exec(insertSegment, s.id, int64(s.size), int64(s.live), s.last, packNumbers(s.chunks), packNumbers(s.blocks))
}

// drop deletes a segment with all its rows.
func (s *segment) drop(c *conn) error {
	for _, query := range []string{deleteBlocks, deleteDocuments, deleteIDs} {
		if err := c.exec(query, s.at(0), s.end()); err != nil {
			return err
		}
	}
	return c.exec(deleteSegment, s.id)
}

// chunk reads a chunk.
func (s *segment) chunk(c *conn, n int) ([]numbered, error) {
	b, err := c.bytes(selectIDs, s.at(n))
	if err != nil {
		return nil, err
	}
	return unpackIDs(b)
}

// documents reads the documents that were not deleted, in ascending order of ids.
func (s *segment) documents(c *conn) ([]document, error) {
	docs := make([]document, 0, s.live)
	var chunk []numbered
	at := -1
	err := c.query(selectDocuments, []driver.Value{s.at(0), s.end()}, func(row []driver.Value) (_ bool, err error) {
		n := int(row[0].(int64) - s.at(0))
		if n/chunkSize != at {
			at = n / chunkSize
			if chunk, err = s.chunk(c, at); err != nil {
				return false, err
			}
		}
		b, ok := row[1].([]byte)
		if !ok && row[1] != nil || n%chunkSize >= len(chunk) || chunk[n%chunkSize].deleted {
			return false, errDamaged
		}
		entries, err := unpackEntries(b)
		docs = append(docs, document{id: chunk[n%chunkSize].id, conversation: chunk[n%chunkSize].conversation, entries: entries})
		return true, err
	})
	if err == nil && len(docs) != s.live {
		err = errDamaged
	}
	return docs, err
}

// find returns the numbers of the messages of the segment whose ids are in a list, which must be
// ascending. If mark is set, it marks them as deleted in their chunks.
func (s *segment) find(c *conn, ids []int64, mark bool) (numbers []int, err error) {
	from, _ := slices.BinarySearch(ids, s.first())
	ids = ids[from:]
	for len(ids) > 0 && ids[0] <= s.last {
		n := s.chunkOf(ids[0])
		list, err := s.chunk(c, n)
		if err != nil {
			return nil, err
		}
		found := false
		for i := range list {
			for len(ids) > 0 && ids[0] < list[i].id {
				ids = ids[1:]
			}
			if len(ids) > 0 && ids[0] == list[i].id && !list[i].deleted {
				numbers = append(numbers, n*chunkSize+i)
				list[i].deleted, found = true, true
			}
		}
		for len(ids) > 0 && (n+1 == len(s.chunks) || ids[0] < s.chunks[n+1]) {
			ids = ids[1:]
		}
		if found && mark {
			if err := c.exec(updateIDs, packIDs(list), s.at(n)); err != nil {
				return nil, err
			}
		}
	}
	return numbers, nil
}

// A deletion rebuilds a segment from what remains if it deletes at least 1/rebuildPart as many
// messages, because that is faster than going through its lists.
const rebuildPart = 8

// delete deletes messages from the segment. It returns the new segment, which is the same if it had
// none of them and nil if it is empty, and the number of messages deleted. nextID returns the id
// for a rebuilt segment.
func (s *segment) delete(c *conn, ids []int64, nextID func() int64) (*segment, int, error) {
	numbers, err := s.find(c, ids, true)
	if err != nil || len(numbers) == 0 {
		return s, 0, err
	}
	left := s.live - len(numbers)
	if left <= 0 {
		return nil, len(numbers), s.drop(c)
	}
	var deleted []pair
	for _, n := range numbers {
		b, err := c.bytes(selectDocument, s.at(n))
		if err != nil {
			return nil, 0, err
		}
		entries, err := unpackEntries(b)
		if err != nil {
			return nil, 0, err
		}
		for _, e := range entries {
			deleted = append(deleted, pairOf(e, n))
		}
		if err := c.exec(deleteDocument, s.at(n)); err != nil {
			return nil, 0, err
		}
	}
	next := *s
	next.live = left
	if len(numbers) >= left/rebuildPart {
		docs, err := next.documents(c)
		if err == nil {
			err = s.drop(c)
		}
		if err != nil {
			return nil, 0, err
		}
		built, err := build(c, nextID(), docs)
		return built, len(numbers), err
	}
	slices.Sort(deleted)
	if err := s.deletePairs(c, deleted); err != nil {
		return nil, 0, err
	}
	return &next, len(numbers), c.exec(updateLive, int64(left), s.id)
}

// deletePairs deletes pairs, which are ascending, from the blocks.
func (s *segment) deletePairs(c *conn, deleted []pair) error {
	var buf []pair
	for len(deleted) > 0 {
		n := s.blockOf(deleted[0])
		end := len(deleted)
		if n+1 < len(s.blocks) {
			end, _ = slices.BinarySearch(deleted, s.blocks[n+1])
		}
		b, err := c.bytes(selectBlock, s.at(n))
		if err != nil {
			return err
		}
		list, err := appendPairs(buf[:0], b)
		if err != nil {
			return err
		}
		left := subtract(list, deleted[:end])
		switch {
		case len(left) != len(list)-end: // some of them were missing
			err = errDamaged
		case len(left) == 0:
			err = c.exec(deleteBlock, s.at(n))
		default:
			block, _ := encodeBlock(left, math.MaxInt) // never longer than before
			err = c.exec(updateBlock, block, s.at(n))
		}
		if err != nil {
			return err
		}
		buf, deleted = list, deleted[end:]
	}
	return nil
}

// blockOf returns the block that a pair is in, or the first that may have a greater one.
func (s *segment) blockOf(p pair) int {
	at, found := slices.BinarySearch(s.blocks, p)
	if !found && at > 0 {
		at--
	}
	return at
}

// numbers appends the numbers of the documents with an entry, in ascending order: those from low to
// below high.
func (s *segment) numbers(c *conn, e search.Entry, low, high int, to []int, buf *[]pair) ([]int, error) {
	from, end := pairOf(e, low), pairOf(e, high-1)
	for n := s.blockOf(from); n < len(s.blocks) && s.blocks[n] <= end; n++ {
		b, err := c.bytes(selectBlock, s.at(n))
		if err != nil {
			return to, err
		}
		list, err := appendPairs((*buf)[:0], b)
		if err != nil {
			return to, err
		}
		*buf = list
		at, _ := slices.BinarySearch(list, from)
		for _, p := range list[at:] {
			if p > end {
				return to, nil
			}
			to = append(to, p.document())
		}
	}
	return to, nil
}
