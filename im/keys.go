package im

import (
	"errors"
	"fmt"
)

// StoreID identifies a store. Its database and its keys have the same one.
type StoreID [16]byte

// Slot is the number of a key, 0 for none.
type Slot uint64

// KeySize is the length of a key in bytes: AES-128.
const KeySize = 16

// Key seals one content.
type Key [KeySize]byte

// ShredCode is the reason why a key was shredded. A message in a restored backup whose key has the
// code of a state becomes a tombstone of that state.
type ShredCode byte

// The codes. Their numbers are stored with the keys: never reuse one.
const (
	// ShredRevoked, ShredBurned and ShredExpired are for messages that left a tombstone.
	ShredRevoked ShredCode = iota + 1
	ShredBurned
	ShredExpired
	// ShredRemoved is for content that left no tombstone: it was trimmed, purged, replaced or never
	// committed.
	ShredRemoved
)

var shredNames = names[ShredCode]{ShredRevoked: "revoked", ShredBurned: "burned", ShredExpired: "expired", ShredRemoved: "removed"}

// Valid reports whether c is one of the codes.
func (c ShredCode) Valid() bool { return c >= ShredRevoked && c <= ShredRemoved }

// String returns the name of the code.
func (c ShredCode) String() string {
	if !c.Valid() {
		return fmt.Sprintf("code %d", byte(c))
	}
	return shredNames[c]
}

// State returns the state of the tombstone of a message whose key has this code; false if
// none is left.
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

// ShredCode returns the code with which the key of a message in this state is shredded, 0
// for an active one.
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

// ShreddedError is returned for a key that was shredded, with the reason.
type ShreddedError struct{ Code ShredCode }

// Error returns the reason.
func (e *ShreddedError) Error() string { return "the key was shredded: " + e.Code.String() }

// ErrNoKey means that a slot does not exist: its number is 0 or past the last one. If the data
// names that slot, the keys are an older copy than the data.
var ErrNoKey = errors.New("there is no key in this slot")

// Shredding is a slot whose key must be shredded, and the reason.
type Shredding struct {
	Slot Slot
	Code ShredCode
}

// Keys are the keys that seal the contents of one store, one key per content. Shredding a key
// erases the content in every copy of the data that was ever made. Implementations are safe for
// concurrent use.
type Keys interface {
	// SearchKey returns the key of the hashes in the search index.
	SearchKey() [32]byte

	// Epoch returns a number that increases with each [Keys.Shred] and is stored with the keys. The
	// store keeps it in its data, too, so that it can detect which of the two is an older copy.
	Epoch() uint64

	// Raise makes the epoch after the next [Keys.Shred] greater than this one.
	Raise(epoch uint64)

	// Begin makes Next return slots that were never returned before, even by a process that
	// crashed. They are greater than past, the greatest slot that the data may name.
	Begin(past Slot) error

	// Next returns a key that was never returned before. Any error is from making more
	// keys; the next call tries again.
	Next() (Slot, Key, error)

	// Key returns the key in a slot. The error is a [ShreddedError], [ErrNoKey], or the error of
	// reading it.
	Key(Slot) (Key, error)

	// Shred destroys keys and returns once that is durable. A shredded key keeps its code,
	// unless the new one is [ShredRemoved]. Slots that do not exist are skipped. After an error
	// some may be shredded: call it again with the same list. An empty list only raises the epoch.
	Shred([]Shredding) error

	// Live returns up to most slots greater than after that have a key, in ascending order,
	// without those returned by Next since Begin.
	Live(after Slot, most int) ([]Slot, error)

	// End returns the slot after the last one that exists.
	End() Slot

	// Close releases the keys, after running calls of Shred have returned.
	Close() error
}
