package keyring

import (
	"errors"
	"fmt"
)

// Slot numbers a key. 0 is none.
type Slot uint64

// KeySize is the length of a key in bytes: AES-128.
const KeySize = 16

// Key is what content is sealed under.
type Key [KeySize]byte

// Code says why a key was shredded. What a restored backup holds under it becomes a
// tombstone of this kind.
type Code byte

// The codes, as they are written.
const (
	// Revoked, Burned and Expired are those of messages that left a tombstone.
	Revoked Code = iota + 1
	Burned
	Expired
	// Removed is that of whatever left nothing: trimmed, purged, replaced, or never
	// used. Pages of nothing else become holes, which read the same.
	Removed
)

var codeNames = [...]string{Revoked: "revoked", Burned: "burned", Expired: "expired", Removed: "removed"}

// Valid reports whether this is one of the codes.
func (c Code) Valid() bool { return c >= Revoked && c <= Removed }

// String returns the name of the code.
func (c Code) String() string {
	if !c.Valid() {
		return fmt.Sprintf("code %d", byte(c))
	}
	return codeNames[c]
}

// ShreddedError says that a key was shredded, and why.
type ShreddedError struct{ Code Code }

// Error says why.
func (e *ShreddedError) Error() string { return "keyring: the key was shredded: " + e.Code.String() }

// ErrNoKey says that a slot was never made: its number is 0 or past the end of the
// file. Of a slot that was used, it means that the file is an older copy.
var ErrNoKey = errors.New("keyring: there is no key in this slot")

const (
	pageSize = 4096
	// perPage is how many slots a page holds.
	perPage = pageSize / KeySize
	// firstSlot is the first that is used: 0 is none, and a page is one extent's.
	firstSlot = Slot(perPage)
)

// offset returns where a slot is. It lies within a sector of the disk, which is written
// whole or not at all, so that nothing is ever half a key. The header is the first page, so the page of the
// slots 0 to 255 is the header's, and none of them is used.
func (s Slot) offset() int64 { return int64(s) * KeySize }

// page returns the number of the page that a slot is in.
func (s Slot) page() uint64 { return uint64(s) / perPage }

// maxSlot keeps offsets within what a file can have.
const maxSlot = Slot(1<<62/KeySize - 1)

// read says what the bytes of a slot mean. A hole reads as zeros, and is made of what
// was removed alone.
func read(b []byte) (Key, error) {
	k := Key(b)
	if !blank(k) {
		return k, nil
	}
	code := Code(k[KeySize-1])
	if code == 0 {
		code = Removed
	}
	if !code.Valid() {
		return Key{}, fmt.Errorf("keyring: a slot was shredded with an unknown %v", code)
	}
	return Key{}, &ShreddedError{code}
}

// blank reports whether these are the bytes of no key: zeros, and a code. No key is made
// that looks so.
func blank(k Key) bool {
	var any byte
	for _, b := range k[:KeySize-1] {
		any |= b
	}
	return any == 0
}

// shredded returns the bytes of a slot that was shredded.
func shredded(c Code) (k Key) {
	k[KeySize-1] = byte(c)
	return k
}
