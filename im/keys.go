package im

import (
	"errors"
	"fmt"
)

// StoreID names a store: its database and its keys have the same.
type StoreID [16]byte

// Slot numbers a key. 0 is none.
type Slot uint64

// KeySize is the length of a key in bytes: AES-128.
const KeySize = 16

// Key is what one content is sealed under.
type Key [KeySize]byte

// ShredCode says why a key was shredded. What a restored backup holds under it becomes a
// tombstone of this kind.
type ShredCode byte

// The codes, as they are written.
const (
	// ShredRevoked, ShredBurned and ShredExpired are those of messages that left a
	// tombstone.
	ShredRevoked ShredCode = iota + 1
	ShredBurned
	ShredExpired
	// ShredRemoved is that of whatever left nothing: trimmed, purged, replaced, or never
	// used.
	ShredRemoved
)

var shredNames = names[ShredCode]{ShredRevoked: "revoked", ShredBurned: "burned", ShredExpired: "expired", ShredRemoved: "removed"}

// Valid reports whether this is one of the codes.
func (c ShredCode) Valid() bool { return c >= ShredRevoked && c <= ShredRemoved }

// String returns the name of the code.
func (c ShredCode) String() string {
	if !c.Valid() {
		return fmt.Sprintf("code %d", byte(c))
	}
	return shredNames[c]
}

// State returns the state of a message whose key was shredded with this code; false if
// no message is left.
func (c ShredCode) State() (State, bool) {
	switch c {
	case ShredRevoked:
		return Revoked, true
	case ShredBurned:
		return Burned, true
	case ShredExpired:
		return Expired, true
	default:
		return 0, false
	}
}

// ShredCode returns the code that the key of a message in this state is shredded with.
// An active one has none.
func (s State) ShredCode() ShredCode {
	switch s {
	case Revoked:
		return ShredRevoked
	case Burned:
		return ShredBurned
	case Expired:
		return ShredExpired
	default:
		return 0
	}
}

// ShreddedError says that a key was shredded, and why.
type ShreddedError struct{ Code ShredCode }

// Error says why.
func (e *ShreddedError) Error() string { return "the key was shredded: " + e.Code.String() }

// ErrNoKey says that a slot was never made: its number is 0 or past the last one. Of a
// slot that was used, it means that the keys are an older copy.
var ErrNoKey = errors.New("there is no key in this slot")

// Shredding is a slot whose key is to be destroyed, and why.
type Shredding struct {
	Slot Slot
	Code ShredCode
}

// Keys are the keys that the content of one store is sealed under, one for each content.
// To destroy a key erases the content in every copy of the data that was ever made. They
// are safe for concurrent use.
type Keys interface {
	// SearchKey returns what the words of the search index are hashed with.
	SearchKey() [32]byte

	// Epoch returns a number that rises with each [Keys.Shred] and is kept with the
	// keys. The store keeps it with its data, too, so that either is known to be older
	// than the other.
	Epoch() uint64

	// Raise has the next [Keys.Shred] make the epoch greater than this one.
	Raise(epoch uint64)

	// Begin has keys given out from slots of which none was given out before, also if
	// the process that had the keys crashed. All are greater than past, the greatest
	// slot that the data may name.
	Begin(past Slot) error

	// Next gives out a key that was never given out and will not be again. The error is
	// that of making more: the next call tries anew.
	Next() (Slot, Key, error)

	// Key returns the key in a slot. The error is a [ShreddedError], [ErrNoKey], or that
	// of reading it.
	Key(Slot) (Key, error)

	// Shred destroys keys and returns once they are gone for good. A key that was
	// shredded already keeps its code, unless it is to be [ShredRemoved]. A slot without
	// a key is passed over. After an error any part may have been done: call again with
	// the same. An empty list raises the epoch alone.
	Shred([]Shredding) error

	// Live returns up to most slots after one that have a key, in order. Those that were
	// given out since Begin are not among them.
	Live(after Slot, most int) ([]Slot, error)

	// End returns the slot after the last one that was made.
	End() Slot

	// Close ends it after the shreddings that wait.
	Close() error
}
