package searchindex

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/imapi/imapi/search"
)

// maxDocuments is the maximum number of documents in a segment: their numbers have 16 bits.
const maxDocuments = 1 << 16

// pair combines an entry and the number of a document, so that the documents with an entry
// are neighbours in a sorted list.
type pair uint64

func pairOf(e search.Entry, n int) pair { return pair(e)<<16 | pair(n) }

func (p pair) document() int { return int(p & (maxDocuments - 1)) }

// blockSize is the size in bytes at which a block ends. Three blocks fit into a page.
const blockSize = 1300

// errDamaged is in the chain of errors that report a damaged file.
var errDamaged = errors.New("the search index is damaged")

// encodeBlock encodes pairs, which are ascending, until the block has the given size in
// bytes, and returns the rest. The first pair is stored whole, each other pair as its difference
// from the previous pair.
func encodeBlock(list []pair, size int) (block []byte, rest []pair) {
	block = make([]byte, 0, blockSize+2*binary.MaxVarintLen64)
	before := pair(0)
	for i, p := range list {
		if len(block) >= size {
			return block, list[i:]
		}
		block = binary.AppendUvarint(block, uint64(p-before))
		before = p
	}
	return block, nil
}

// appendPairs decodes a block and appends its pairs.
func appendPairs(to []pair, block []byte) ([]pair, error) {
	at := pair(0)
	for first := true; len(block) > 0; first = false {
		step, n := binary.Uvarint(block)
		if n <= 0 || step == 0 && !first || at+pair(step) < at {
			return to, errDamaged
		}
		at += pair(step)
		to, block = append(to, at), block[n:]
	}
	return to, nil
}

// subtract returns the pairs of list that are not in deleted. Both are ascending. The result is in
// the memory of list.
func subtract(list, deleted []pair) []pair {
	left := list[:0]
	for _, p := range list {
		for len(deleted) > 0 && deleted[0] < p {
			deleted = deleted[1:]
		}
		if len(deleted) == 0 || deleted[0] != p {
			left = append(left, p)
		}
	}
	return left
}

// entrySize is the size of an entry stored with its document, in bytes.
const entrySize = 5

// packEntries encodes the entries that are stored with a document.
func packEntries(list []search.Entry) []byte {
	b := make([]byte, 0, entrySize*len(list))
	for _, e := range list {
		b = append(b, byte(e>>32), byte(e>>24), byte(e>>16), byte(e>>8), byte(e))
	}
	return b
}

func unpackEntries(b []byte) ([]search.Entry, error) {
	if len(b)%entrySize != 0 {
		return nil, errDamaged
	}
	list := make([]search.Entry, 0, len(b)/entrySize)
	for c := range slices.Chunk(b, entrySize) {
		list = append(list, search.Entry(c[0])<<32|search.Entry(binary.BigEndian.Uint32(c[1:])))
	}
	return list, nil
}
