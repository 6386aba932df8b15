package keyring

import (
	"fmt"

	"github.com/imapi/imapi/im"
)

const (
	pageSize = 4096
	// perPage is how many slots a page holds.
	perPage = pageSize / im.KeySize
	// firstSlot is the first that is used: 0 is none, and a page is one extent's.
	firstSlot = im.Slot(perPage)
)

// offset returns where a slot is. It lies within a sector of the disk, which is written
// whole or not at all, so that nothing is ever half a key. The header is the first page, so the page of the
// slots 0 to 255 is the header's, and none of them is used.
func offset(s im.Slot) int64 { return int64(s) * im.KeySize }

// pageOf returns the number of the page that a slot is in.
func pageOf(s im.Slot) uint64 { return uint64(s) / perPage }

// maxSlot keeps offsets within what a file can have.
const maxSlot = im.Slot(1<<62/im.KeySize - 1)

// read says what the bytes of a slot mean. A hole reads as zeros, and is made of what
// was removed alone.
func read(b []byte) (im.Key, error) {
	k := im.Key(b)
	if !blank(k) {
		return k, nil
	}
	code := im.ShredCode(k[im.KeySize-1])
	if code == 0 {
		code = im.ShredRemoved
	}
	if !code.Valid() {
		return im.Key{}, fmt.Errorf("keyring: a slot was shredded with an unknown %v", code)
	}
	return im.Key{}, &im.ShreddedError{Code: code}
}

// blank reports whether these are the bytes of no key: zeros, and a code. No key is made
// that looks so.
func blank(k im.Key) bool {
	var any byte
	for _, b := range k[:im.KeySize-1] {
		any |= b
	}
	return any == 0
}

// shredded returns the bytes of a slot that was shredded.
func shredded(c im.ShredCode) (k im.Key) {
	k[im.KeySize-1] = byte(c)
	return k
}
