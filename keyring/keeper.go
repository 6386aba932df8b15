package keyring

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/imapi/imapi/im"
)

// Extents begin small and double in size. So a busy server makes them rarely, and an idle one
// leaves few unused keys behind after a crash: never more than two extents of 1 MiB, at 16 bytes
// per key.
const (
	minExtent = perPage
	maxExtent = 1 << 16
)

// extent is a run of keys in consecutive slots that were made together.
type extent struct {
	first im.Slot
	keys  []im.Key
}

// shredding is a waiting call of Shred.
type shredding struct {
	list []im.Shredding
	done chan error // buffered
}

// keep runs the one goroutine that writes to the file. Extents and shreddings share its
// syncs. With two goroutines, a disk error that the system reports only once could be
// returned to the wrong one.
func (r *Ring) keep() {
	defer close(r.ended)
	for range r.wake {
		if r.round() {
			return
		}
	}
}

// round does the pending work and reports whether it was the last.
func (r *Ring) round() (last bool) {
	r.mu.Lock()
	calls, wanted := r.waiting, r.wanted
	first, size := r.next, r.size
	epoch := r.epoch
	if len(calls) > 0 {
		// Raise the epoch even if shredding then fails: the new one may have reached the disk.
		epoch++
		r.epoch = epoch
	}
	r.waiting = nil
	last = r.state == closing
	var unused []im.Shredding
	if last {
		wanted = false
		for _, e := range r.ready {
			for i := range e.keys {
				unused = append(unused, im.Shredding{Slot: e.first + im.Slot(i), Code: im.ShredRemoved})
			}
			clear(e.keys)
		}
		r.ready, r.left = nil, 0
	}
	r.mu.Unlock()

	// Unused keys come first: no caller waits for them.
	list := unused
	for _, c := range calls {
		list = append(list, c.list...)
	}
	touched, err := r.pages.shred(list)
	if len(calls) > 0 {
		_, failed := r.file.WriteAt(epochBytes(epoch), atEpoch)
		err = errors.Join(err, failed)
	}
	var made extent
	var notMade error
	if wanted {
		made, notMade = writeExtent(r.file, first, size)
	}
	if len(touched) > 0 || len(calls) > 0 || wanted && notMade == nil {
		if failed := r.file.Sync(); failed != nil {
			// Neither the shreddings nor the extent are known to be on the disk, so both fail. Callers
			// write everything again, because the system treats a page whose write-back has failed as
			// clean.
			err = errors.Join(err, failed)
			notMade = cmp.Or(notMade, failed)
		}
	}
	if len(list) > 0 {
		r.pages.shredCached(list) // again, because a page may have been read from the disk in the meantime
	}
	if err == nil {
		if len(calls) > 0 {
			r.mu.Lock()
			r.synced = epoch
			r.mu.Unlock()
		}
		r.pages.punch(touched)
	} else {
		err = fmt.Errorf("shred keys: %w", err)
	}
	for _, c := range calls {
		c.done <- err
	}
	if wanted {
		r.deliver(made, notMade)
	}
	return last
}

// deliver passes a new extent, or the error of making it, to the callers that wait for
// keys.
func (r *Ring) deliver(e extent, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = false
	if err != nil {
		// No caller has seen the keys, so their slots can be used again. A small extent may
		// still fit on the disk.
		r.size = minExtent
		r.fails++
		r.failure = fmt.Errorf("make keys: %w", err)
	} else {
		r.next += im.Slot(len(e.keys))
		r.pages.extend(r.next)
		r.ready = append(r.ready, e)
		r.left += len(e.keys)
		r.size = min(2*r.size, maxExtent)
	}
	r.made.Broadcast()
}

var errFull = errors.New("keyring: all slots are used")

// writeExtent makes keys and writes them.
func writeExtent(f io.WriterAt, first im.Slot, size int) (extent, error) {
	if first > maxSlot-im.Slot(size) {
		return extent{}, errFull
	}
	e := extent{first: first, keys: make([]im.Key, size)}
	b := make([]byte, size*im.KeySize)
	_, _ = rand.Read(b) // crypto/rand never fails
	for i := range e.keys {
		for isShredded(im.Key(b[i*im.KeySize:])) { // happens once in 2^120
			_, _ = rand.Read(b[i*im.KeySize : (i+1)*im.KeySize])
		}
		e.keys[i] = im.Key(b[i*im.KeySize:])
	}
	_, err := f.WriteAt(b, offset(first))
	clear(b)
	return e, err
}
