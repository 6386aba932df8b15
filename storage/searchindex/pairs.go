package searchindex

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/imapi/imapi/search"
)

// maxDocuments is the most documents of a segment: their numbers have 16 bits.
const maxDocuments = 1 << 16

// pair is an entry and the number of a document that has it, in one number: those of an
// entry are beside each other, by document.
type pair uint64

func pairOf(e search.Entry, n int) pair { return pair(e)<<16 | pair(n) }

func (p pair) document() int { return int(p & (maxDocuments - 1)) }

// blockSize is after how many bytes a block ends: three fit into a page.
const blockSize = 1300

// errDamaged is in the chain of errors that say that the file is not what was written.
var errDamaged = errors.New("the search index is damaged")

// encodeBlock returns the first of the pairs, which rise, as a block of about so many
// bytes, and those that are left: the first one as it is, then what each adds to the one
// before.
func encodeBlock(list []pair, most int) (block []byte, rest []pair) {
	block = make([]byte, 0, blockSize+2*binary.MaxVarintLen64)
	before := pair(0)
	for i, p := range list {
		if len(block) >= most {
			return block, list[i:]
		}
		block = binary.AppendUvarint(block, uint64(p-before))
		before = p
	}
	return block, nil
}

// appendPairs appends those of a block.
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

// without returns the pairs of list that are not in gone; both rise.
func without(list, gone []pair) []pair {
	left := list[:0]
	for _, p := range list {
		for len(gone) > 0 && gone[0] < p {
			gone = gone[1:]
		}
		if len(gone) == 0 || gone[0] != p {
			left = append(left, p)
		}
	}
	return left
}

// entrySize is that of an entry beside its document, in bytes.
const entrySize = 5

// packEntries returns entries as they are stored beside their document.
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
