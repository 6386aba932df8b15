// Package record has what engines of the store share: how rows are written, which a
// second engine would have to copy.
package record

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"github.com/imapi/imapi/im"
)

// Overhead is how many bytes longer sealed content is.
const Overhead = 16

// ErrSealed says that content cannot be unsealed under this key: it was damaged, or is
// that of another slot or another store.
var ErrSealed = errors.New("sealed content is damaged or is not of this slot")

// Seal encrypts content under the key of a slot, appends it to dst and returns that. It
// is AES-128-GCM (NIST SP 800-38D). The nonce is fixed, which is safe because a key seals
// one content, ever; the store's id and the slot are authenticated with it, so that
// content cannot be moved to another row or another store.
func Seal(dst []byte, key im.Key, store im.StoreID, slot im.Slot, content []byte) []byte {
	return gcm(key).Seal(dst, nonce[:], content, bound(store, slot))
}

// Unseal decrypts what [Seal] made, appends it to dst and returns that. The error is
// [ErrSealed].
func Unseal(dst []byte, key im.Key, store im.StoreID, slot im.Slot, sealed []byte) ([]byte, error) {
	content, err := gcm(key).Open(dst, nonce[:], sealed, bound(store, slot))
	if err != nil {
		return nil, ErrSealed
	}
	return content, nil
}

var nonce [12]byte

func gcm(key im.Key) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // says that the key has a wrong length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // says that blocks are not of 16 bytes
	}
	return aead
}

// bound is the associated data: which slot of which store.
func bound(store im.StoreID, slot im.Slot) []byte {
	return binary.BigEndian.AppendUint64(store[:len(store):len(store)], uint64(slot))
}
