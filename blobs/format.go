package blobs

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"github.com/imapi/imapi/im"
)

// A file is a header of 64 bytes and chunks, in big-endian:
//
//	 0   8  "imapblob"
//	 8   4  version of the format: 1
//	12   4  zeros
//	16  16  id of the store
//	32   8  slot of the key
//	40   8  id of the blob
//	48  16  tag of the 48 bytes before
//	64      chunks
//
// A chunk seals 65,536 bytes with AES-128-GCM, which adds 16. The last one seals 1 to 65,536,
// or 0 if the blob is empty. This is the STREAM construction of Hoang, Reyhanitabar, Rogaway
// and Vizár (2015): the nonce has the number of the chunk and says whether it is the last, so
// chunks cannot be reordered, dropped or added.
//
//	nonce of a chunk:  01, six zeros, the number of the chunk (4 bytes), 01 if last, else 00
//	nonce of the tag:  02, eleven zeros
//
// The associated data of a chunk is bytes 16 to 47 of the header: store, slot and blob. That of the
// tag is the 48 bytes before it. The key seals only one other thing: the description of the file in
// the database, with a nonce of 12 zeros.
const (
	magic      = "imapblob"
	version    = 1
	headerSize = 64
	tagAt      = 48
	boundAt    = 16
	tagSize    = 16

	// chunkSize is the length of a chunk before it is sealed, and sealedSize after.
	chunkSize  = 64 << 10
	sealedSize = chunkSize + tagSize

	// maxChunks is the maximum number of chunks that a counter of 4 bytes can number.
	maxChunks = 1 << 32
)

// The first byte of a nonce. [record.Seal] uses 0.
const (
	nonceChunk  = 1
	nonceHeader = 2
)

// ErrDamaged means that a blob is not what was written: it was changed, truncated or extended, or
// the file or the key is that of another blob.
var ErrDamaged = errors.New("blobs: the file is damaged, or it belongs to another attachment")

// seal seals and opens the chunks of one blob.
type seal struct {
	aead  cipher.AEAD
	bound [tagAt - boundAt]byte
}

func newSeal(store im.StoreID, b im.Blob) seal {
	block, err := aes.NewCipher(b.Key[:])
	if err != nil {
		panic(err) // unreachable: the key has the right length
	}
	s := seal{}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		panic(err) // unreachable: AES has blocks of 16 bytes
	}
	copy(s.bound[:], store[:])
	binary.BigEndian.PutUint64(s.bound[16:], uint64(b.Slot))
	binary.BigEndian.PutUint64(s.bound[24:], uint64(b.ID))
	return s
}

// header returns the header of the file.
func (s seal) header() []byte {
	h := make([]byte, tagAt, headerSize)
	copy(h, magic)
	binary.BigEndian.PutUint32(h[8:], version)
	copy(h[boundAt:], s.bound[:])
	nonce := [12]byte{nonceHeader}
	return s.aead.Seal(h, nonce[:], nil, h) // one key, one header
}

// fits reports whether a header belongs to this blob and was written under its key.
func (s seal) fits(header []byte) bool { return bytes.Equal(header, s.header()) }

func chunkNonce(n int64, last bool) (nonce [12]byte) {
	nonce[0] = nonceChunk
	binary.BigEndian.PutUint32(nonce[7:], uint32(n)) // below maxChunks
	if last {
		nonce[11] = 1
	}
	return nonce
}

// close seals a chunk and appends it to a slice that has room for it.
func (s seal) close(to, chunk []byte, n int64, last bool) []byte {
	nonce := chunkNonce(n, last)
	return s.aead.Seal(to, nonce[:], chunk, s.bound[:]) // each number once
}

// open opens a chunk in place.
func (s seal) open(sealed []byte, n int64, last bool) ([]byte, error) {
	nonce := chunkNonce(n, last)
	chunk, err := s.aead.Open(sealed[:0], nonce[:], sealed, s.bound[:])
	if err != nil {
		return nil, ErrDamaged
	}
	return chunk, nil
}

// owner is what the header of a file claims. It is not authenticated.
type owner struct {
	store im.StoreID
	slot  im.Slot
	id    im.ID
}

// readOwner reads a header. It returns false for any other format.
func readOwner(header []byte) (o owner, ok bool) {
	if len(header) != headerSize || string(header[:8]) != magic || binary.BigEndian.Uint32(header[8:]) != version {
		return o, false
	}
	o.store = im.StoreID(header[boundAt:])
	o.slot = im.Slot(binary.BigEndian.Uint64(header[32:]))
	o.id = im.ID(binary.BigEndian.Uint64(header[40:])) // ids may be negative
	return o, true
}

// chunks returns the number of chunks of a blob of size bytes.
func chunks(size int64) int64 { return max((size+chunkSize-1)/chunkSize, 1) }

// fileSize returns the length of the file of a blob of size bytes.
func fileSize(size int64) int64 { return headerSize + size + chunks(size)*tagSize }
