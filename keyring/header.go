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

// Header is the description of a key file on its first page.
type Header struct {
	// Store is the id of the store that the keys belong to.
	Store im.StoreID
	// SearchKey is the key of the hashes in the search index. A copy of the index without
	// this file therefore reveals no words.
	SearchKey [32]byte
}

// The errors of opening a key file. Each is in the chain of the error of Open.
var (
	// ErrInUse reports that another process has the file open.
	ErrInUse = errors.New("the key file is in use by another process")
	// ErrNotKeys reports a file of another kind.
	ErrNotKeys = errors.New("this is not a key file")
	// ErrTorn reports a truncated or damaged header.
	ErrTorn = errors.New("the key file's header is damaged")
	// ErrNewer reports a file that a later version of imapi made.
	ErrNewer = errors.New("the key file was made by a newer imapi")
	// ErrOlder reports a file that an earlier version of imapi made.
	ErrOlder = errors.New("the key file was made by an older imapi")
	// ErrForeign reports the keys of another store.
	ErrForeign = errors.New("the key file belongs to another database")
)

// version is the version of the file format.
const version = 1

// magic is the first bytes of a key file.
var magic = [8]byte{'i', 'm', 'a', 'p', 'i', 'k', 'e', 'y'}

// Offsets in the header: magic, version, store, search key, checksum.
const (
	atVersion   = 8
	atStore     = 12
	atSearchKey = atStore + 16
	atSum       = atSearchKey + 32
	headerSize  = atSum + 4
)

// The epoch is a number with a checksum. It is in a sector of its own, which a disk writes
// atomically. The rest of the page is zero.
const (
	atEpoch   = 2048
	epochSize = 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newHeader(store im.StoreID) Header {
	h := Header{Store: store}
	_, _ = rand.Read(h.SearchKey[:]) // crypto/rand never fails
	return h
}

// page returns the encoded header.
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

// readHeader decodes the first page of a file, which may be incomplete.
func readHeader(b []byte) (Header, error) {
	var h Header
	switch {
	case len(b) == 0:
		return h, fmt.Errorf("%w: it is empty", ErrTorn)
	case !bytes.Equal(b[:min(len(b), len(magic))], magic[:min(len(b), len(magic))]):
		return h, ErrNotKeys
	case len(b) < pageSize:
		return h, fmt.Errorf("%w: it is truncated after %d bytes", ErrTorn, len(b))
	}
	// Check the version first: another version may use the rest differently.
	switch v := binary.BigEndian.Uint32(b[atVersion:]); {
	case v == 0:
		return h, fmt.Errorf("%w: it has no version", ErrTorn)
	case v < version:
		return h, ErrOlder
	case v > version:
		return h, fmt.Errorf("%w: it has version %d, this imapi reads version %d", ErrNewer, v, version)
	}
	if binary.BigEndian.Uint32(b[atSum:]) != crc32.Checksum(b[:atSum], castagnoli) {
		return h, fmt.Errorf("%w: the checksum is wrong", ErrTorn)
	}
	h.Store = im.StoreID(b[atStore:])
	copy(h.SearchKey[:], b[atSearchKey:])
	return h, nil
}

func epochBytes(n uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, epochSize), n)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readEpoch reads the epoch from a file with a valid header.
func readEpoch(f io.ReaderAt) (uint64, error) {
	b := make([]byte, epochSize)
	if _, err := f.ReadAt(b, atEpoch); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint64(b)
	if !bytes.Equal(b, epochBytes(n)) {
		return 0, fmt.Errorf("%w: the checksum of the epoch is wrong", ErrTorn)
	}
	return n, nil
}
