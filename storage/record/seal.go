package record

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"github.com/imapi/imapi/im"
)

// Overhead is the difference between the lengths of sealed content and of the content, in bytes.
const Overhead = 16

// ErrSealed reports that sealed content cannot be decrypted with this key: it is damaged,
// or it belongs to another slot or another store.
var ErrSealed = errors.New("sealed content is damaged or belongs to another slot")

// Seal encrypts content with the key of a slot, appends the result to dst and returns it.
// The cipher is AES-128-GCM (NIST SP 800-38D). A fixed nonce is safe here because each key
// seals only one content with it, ever. Package blobs seals a file under the same key as its
// description, with other nonces. The store's id and the slot number are authenticated, so
// sealed content cannot be moved to another row or another store.
func Seal(dst []byte, key im.Key, store im.StoreID, slot im.Slot, content []byte) []byte {
	return gcm(key).Seal(dst, nonce[:], content, associatedData(store, slot)) //nolint:gosec // one key, one content
}

// Unseal decrypts what [Seal] encrypted, appends the result to dst and returns it. The
// error is [ErrSealed].
func Unseal(dst []byte, key im.Key, store im.StoreID, slot im.Slot, sealed []byte) ([]byte, error) {
	content, err := gcm(key).Open(dst, nonce[:], sealed, associatedData(store, slot))
	if err != nil {
		return nil, ErrSealed
	}
	return content, nil
}

var nonce [12]byte

func gcm(key im.Key) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // unreachable: the key has the right length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // unreachable: AES has blocks of 16 bytes
	}
	return aead
}

// associatedData returns the associated data: the store and the slot.
func associatedData(store im.StoreID, slot im.Slot) []byte {
	data := append(make([]byte, 0, len(store)+8), store[:]...)
	return binary.BigEndian.AppendUint64(data, uint64(slot))
}
