package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/imapi/imapi/im"
)

// Header is what a key file says of itself.
type Header struct {
	// Store is the id of the store whose keys these are.
	Store im.StoreID
	// SearchKey is what the words of the search index are hashed with, so that a copy of
	// the index without this file says nothing.
	SearchKey [32]byte
}

// The errors of opening a key file. Each is in the chain of what Open returns.
var (
	// ErrInUse says that another process has the file.
	ErrInUse = errors.New("another process uses the key file")
	// ErrNotKeys says that it is a file of another kind.
	ErrNotKeys = errors.New("this is not a key file")
	// ErrTorn says that the header is cut off or damaged.
	ErrTorn = errors.New("the key file's header is damaged")
	// ErrNewer says that a later version of imapi made it.
	ErrNewer = errors.New("the key file was made by a newer imapi")
	// ErrOlder says that an earlier version made it.
	ErrOlder = errors.New("the key file was made by an older imapi")
	// ErrForeign says that it holds the keys of another store.
	ErrForeign = errors.New("the key file is that of another database")
)

// version is that of the file's format.
const version = 1

// magic is how a key file begins.
var magic = [8]byte{'i', 'm', 'a', 'p', 'i', 'k', 'e', 'y'}

// The header's bytes: magic, version, store, search key, checksum.
const (
	atVersion   = 8
	atStore     = 12
	atSearchKey = atStore + 16
	atSum       = atSearchKey + 32
	headerSize  = atSum + 4
)

// The epoch is in a sector of its own, which is written whole or not at all: the number,
// and its checksum. The rest of the page is zero.
const (
	atEpoch   = 2048
	epochSize = 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newHeader(store im.StoreID) Header {
	h := Header{Store: store}
	_, _ = rand.Read(h.SearchKey[:]) // never fails, says crypto/rand
	return h
}

// page returns the header as it is written.
func (h Header) page() []byte {
	b := make([]byte, pageSize)
	copy(b, magic[:])
	binary.BigEndian.PutUint32(b[atVersion:], version)
	copy(b[atStore:], h.Store[:])
	copy(b[atSearchKey:], h.SearchKey[:])
	binary.BigEndian.PutUint32(b[atSum:], crc32.Checksum(b[:atSum], castagnoli))
	copy(b[atEpoch:], epochBytes(0))
	return b
}

// firstPage reads the header of a file.
func firstPage(f io.ReaderAt) (Header, error) {
	b := make([]byte, pageSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Header{}, err
	}
	return readHeader(b[:n])
}

// readHeader reads the first page of a file, or what there is of it.
func readHeader(b []byte) (Header, error) {
	var h Header
	switch {
	case len(b) == 0:
		return h, fmt.Errorf("%w: it is empty", ErrTorn)
	case !bytes.Equal(b[:min(len(b), len(magic))], magic[:min(len(b), len(magic))]):
		return h, ErrNotKeys
	case len(b) < pageSize:
		return h, fmt.Errorf("%w: it is cut off after %d bytes", ErrTorn, len(b))
	}
	// The version first: what another one means by the rest is not known here.
	switch v := binary.BigEndian.Uint32(b[atVersion:]); {
	case v == 0:
		return h, fmt.Errorf("%w: it has no version", ErrTorn)
	case v < version:
		return h, ErrOlder
	case v > version:
		return h, fmt.Errorf("%w: it is of version %d, this one reads %d", ErrNewer, v, version)
	}
	if binary.BigEndian.Uint32(b[atSum:]) != crc32.Checksum(b[:atSum], castagnoli) {
		return h, fmt.Errorf("%w: its checksum does not fit", ErrTorn)
	}
	h.Store = im.StoreID(b[atStore:])
	copy(h.SearchKey[:], b[atSearchKey:])
	return h, nil
}

func epochBytes(n uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, epochSize), n)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readEpoch reads it from a file with a good header.
func readEpoch(f io.ReaderAt) (uint64, error) {
	b := make([]byte, epochSize)
	if _, err := f.ReadAt(b, atEpoch); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint64(b)
	if !bytes.Equal(b, epochBytes(n)) {
		return 0, fmt.Errorf("%w: the checksum of its epoch does not fit", ErrTorn)
	}
	return n, nil
}
