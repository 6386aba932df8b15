package sqlite

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

// sealer seals and unseals the content of a store.
type sealer struct {
	keys  im.Keys
	store im.StoreID
	// slotEnd is the stored bound of the slots that rows refer to, all of which are below it.
	// Only the writer changes it.
	slotEnd atomic.Uint64
	// lost holds the slots whose keys the key file never had, because it is a copy from before
	// they were made. It is empty once the store is open.
	lost slotRange
}

const (
	putSlots        = "UPDATE meta SET value = ? WHERE key = 'slots'"
	insertDoomed    = "INSERT OR IGNORE INTO doomed (slot, code, message_id) VALUES (?, ?, ?)"
	insertAllDoomed = `INSERT OR IGNORE INTO doomed (slot, code, message_id)
		SELECT j.value, ?1, 0 FROM json_each(?2) AS j WHERE true`
)

// seal seals content with a new key and returns the number of its slot.
func (t *tx) seal(content []byte) (slot int64, sealed []byte, err error) {
	s, key, err := t.sealer.keys.Next()
	if err != nil {
		return 0, nil, keyRefusal(err)
	}
	t.used = append(t.used, s)
	if err := t.noteSlot(s); err != nil {
		return 0, nil, err
	}
	sealed = make([]byte, 0, len(content)+record.Overhead)
	return int64(s), record.Seal(sealed, key, t.sealer.store, s, content), nil
}

// noteSlot stores the end of all slots made so far, unless s is below the stored end. So only
// the first slot of each extent needs a write, and a key file that ends earlier is recognised as
// incomplete.
func (t *tx) noteSlot(s im.Slot) error {
	if slotEnd := max(t.slotEnd, t.sealer.slotEnd.Load()); uint64(s) >= slotEnd {
		t.slotEnd = uint64(t.sealer.keys.End())
		return t.must(putSlots, int64(t.slotEnd))
	}
	return nil
}

// unseal returns the content sealed with the key in a slot. If the key was shredded, the
// error is an [im.ShreddedError] and the transaction is marked as outdated: in a newer
// snapshot the content is erased. Otherwise the error wraps errContent if the content is damaged or
// its key never existed (then it also wraps [im.ErrNoKey]), or is an error of reading the key.
func (r *reader) unseal(slot int64, sealed []byte) ([]byte, error) {
	key, err := r.sealer.keys.Key(im.Slot(slot))
	switch {
	case err == nil:
	case errors.As(err, new(*im.ShreddedError)):
		r.outdated = true
		return nil, err
	case errors.Is(err, im.ErrNoKey):
		return nil, fmt.Errorf("%w: %w", errContent, err)
	default:
		return nil, keyRefusal(err)
	}
	content, err := record.Unseal(r.room(len(sealed)), key, r.sealer.store, im.Slot(slot), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errContent, err)
	}
	return content, nil
}

// maxRoom is the maximum size of memory that contents share, in bytes.
const maxRoom = 64 << 10

// room returns an empty slice with room for n bytes. The contents of a page share memory, because
// one allocation for each takes longer than decrypting it. The first content is allocated
// separately, because most reads unseal one.
func (r *reader) room(n int) []byte {
	if cap(r.unsealed)-len(r.unsealed) < n {
		r.unsealed = make([]byte, 0, max(n, min(4*cap(r.unsealed), maxRoom)))
	}
	from := len(r.unsealed)
	r.unsealed = r.unsealed[:from+n]
	return r.unsealed[from:from:len(r.unsealed)]
}

// doom schedules the key in a slot for shredding after the commit. message is the id of the
// tombstone, 0 for none.
func (t *tx) doom(slot int64, code im.ShredCode, message im.ID) error {
	d := doomed{im.Shredding{Slot: im.Slot(slot), Code: code}, int64(message)}
	_, err := t.session.exec(insertDoomed, slot, int64(code), d.message)
	t.doomed = append(t.doomed, d)
	return err
}

// doomAll is doom for many different keys, in one statement, of content that leaves no tombstone.
func (t *tx) doomAll(slots []int64) error {
	for _, s := range slots {
		t.doomed = append(t.doomed, doomed{Shredding: im.Shredding{Slot: im.Slot(s), Code: im.ShredRemoved}})
	}
	return t.updateList(insertAllDoomed, slots, int64(im.ShredRemoved))
}
