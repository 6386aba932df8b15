package keyring

import (
	"fmt"

	"github.com/imapi/imapi/im"
)

const (
	pageSize = 4096
	// perPage is the number of slots in a page.
	perPage = pageSize / im.KeySize
	// firstSlot is the first slot that is used. Slot 0 stands for none, and the slots below
	// firstSlot would be in the header's page.
	firstSlot = im.Slot(perPage)
)

// offset returns the offset of a slot in the file. A slot lies within one sector of the disk, which
// is written atomically, so a key is never half written.
func offset(s im.Slot) int64 { return int64(s) * im.KeySize }

// pageOf returns the number of the page that a slot is in.
func pageOf(s im.Slot) uint64 { return uint64(s) / perPage }

// maxSlot keeps offsets within the range of a file offset.
const maxSlot = im.Slot(1<<62/im.KeySize - 1)

// read decodes a slot. A hole reads as zeros, and only pages of removed keys become holes.
func read(b []byte) (im.Key, error) {
	k := im.Key(b)
	if !isShredded(k) {
		return k, nil
	}
	code := im.ShredCode(k[im.KeySize-1])
	if code == 0 {
		code = im.ShredRemoved
	}
	if !code.Valid() {
		return im.Key{}, fmt.Errorf("keyring: slot has unknown shred code %v", code)
	}
	return im.Key{}, &im.ShreddedError{Code: code}
}

// isShredded reports whether these are the bytes of a shredded slot: zeros and a code. No
// key with these bytes is ever made.
func isShredded(k im.Key) bool {
	var bits byte
	for _, b := range k[:im.KeySize-1] {
		bits |= b
	}
	return bits == 0
}

// shredMark returns the bytes of a slot that is shredded with a code.
func shredMark(c im.ShredCode) (k im.Key) {
	k[im.KeySize-1] = byte(c)
	return k
}
