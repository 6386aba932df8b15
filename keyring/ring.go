package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/imapi/imapi/im"
)

// ErrClosed reports that the ring is closed, or that [Ring.Begin] was not called before [Ring.Next]
// or was called twice.
var ErrClosed = errors.New("keyring: not open for new keys")

// Ring is an open key file. It is safe for concurrent use.
type Ring struct {
	header Header
	file   File
	wake   chan struct{} // buffered: there is work for the keeper
	ended  chan struct{} // closed when the keeper has ended
	pages  pages

	mu      sync.Mutex
	made    *sync.Cond // signals that an extent was made, or that making it failed
	state   state
	ready   []extent // on the disk and not given out yet, oldest first
	left    int      // keys in ready
	next    im.Slot  // first slot of the next extent
	size    int      // slots of the next extent
	wanted  bool     // the keeper should make an extent
	fails   int      // the number of failures to make an extent
	failure error    // the last such error
	waiting []*shredding

	epoch  uint64 // of the last shredding, which may have failed
	synced uint64 // of the last shredding that is on the disk

	begun im.Slot // the first slot that this ring gives out; 0 before Begin
}

type state int

const (
	opened state = iota // keys can be read and shredded
	begun               // and given out
	closing
)

// Create creates a key file for a store. The error has fs.ErrExist in its chain if path exists.
func Create(path string, store im.StoreID) error {
	if err := createFile(path, newHeader(store)); err != nil {
		return fmt.Errorf("create the key file: %w", err)
	}
	return nil
}

// Open opens the key file of a store and locks it until Close. Keys can be read and
// shredded, but [Ring.Next] fails before [Ring.Begin]. Open writes nothing, so a caller can
// first check whether the file matches its data. The error has fs.ErrNotExist, [ErrInUse],
// [ErrNotKeys], [ErrTorn], [ErrOlder], [ErrNewer] or [ErrForeign] in its chain.
func Open(path string, store im.StoreID) (*Ring, error) {
	f, err := openFile(path)
	if err == nil {
		var r *Ring
		if r, err = open(f, store); err == nil {
			return r, nil
		}
		err = errors.Join(err, f.Close())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the key file %s: %w", path, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("open the key file %s: %w", path, err)
}

// OpenOn is like [Open] for a file that the caller has opened. The ring closes the file, unless
// OpenOn fails.
func OpenOn(f File, store im.StoreID) (*Ring, error) { return open(f, store) }

// ReadHeader reads the header of a key file without locking it.
func ReadHeader(path string) (Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return Header{}, err
	}
	defer func() { _ = f.Close() }()
	return firstPage(f)
}

func open(f File, store im.StoreID) (*Ring, error) {
	h, err := firstPage(f)
	if err != nil {
		return nil, err
	}
	if h.Store != store {
		return nil, ErrForeign
	}
	epoch, err := readEpoch(f)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	r := &Ring{
		header: h, file: f, epoch: epoch, synced: epoch, size: minExtent,
		next: min(im.Slot((size+im.KeySize-1)/im.KeySize), maxSlot),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		// An incomplete slot at the end of the file does not count.
		pages: pages{file: f, limit: min(im.Slot(size/im.KeySize), maxSlot)},
	}
	r.made = sync.NewCond(&r.mu)
	go r.keep()
	return r, nil
}

// SearchKey returns the key of the hashes in the search index.
func (r *Ring) SearchKey() [32]byte { return r.header.SearchKey }

// Epoch returns the epoch of the keys on the disk. A call of [Ring.Shred] raises it before it
// returns; calls that share a sync raise it once. Of two copies of a file, the one with the greater
// epoch is newer.
func (r *Ring) Epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced
}

// Raise makes the epoch of the next [Ring.Shred] greater than the given one.
func (r *Ring) Raise(epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch = max(r.epoch, epoch)
}

// End returns the slot after the last one that was made.
func (r *Ring) End() im.Slot { return r.pages.end() }

// Begin starts giving out keys, from a new extent. None of its slots was ever given out
// before, even by a process that crashed. All slots are greater than past, the greatest slot that
// the data refer to: if the file is an older copy, slots after its end were given out as well.
// Begin returns once the first keys are on the disk.
func (r *Ring) Begin(past im.Slot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state != opened:
		return ErrClosed
	case past > maxSlot:
		return errFull
	}
	// Skip to the page after the last used one. It skips an extent that was written in
	// part.
	r.next = max(r.next+perPage-1, past+perPage, firstSlot) / perPage * perPage
	r.begun, r.state = r.next, begun
	return r.await()
}

// Next gives out a key that is never given out again. Keys are made ahead of use, so Next
// waits only if the disk does not keep up. The error is ErrClosed before Begin and after Close.
// Any other error is from making keys; the next call tries again.
func (r *Ring) Next() (im.Slot, im.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.await(); err != nil {
		return 0, im.Key{}, err
	}
	e := &r.ready[0]
	slot, key := e.first, e.keys[0]
	e.keys[0] = im.Key{}
	e.first, e.keys = e.first+1, e.keys[1:]
	if len(e.keys) == 0 {
		r.ready = r.ready[1:]
	}
	if r.left--; r.left < r.size/2 {
		r.want()
	}
	return slot, key, nil
}

// await waits until there are keys to give out. mu must be held. The error is ErrClosed if the ring
// is not begun or is closing; any other error is from making keys.
func (r *Ring) await() error {
	for fails := r.fails; r.state == begun; r.made.Wait() {
		if r.left > 0 {
			return nil
		}
		if r.fails != fails {
			return r.failure
		}
		r.want()
	}
	return ErrClosed
}

// want asks the keeper for an extent.
func (r *Ring) want() {
	if !r.wanted && r.state == begun {
		r.wanted = true
		r.wakeKeeper()
	}
}

func (r *Ring) wakeKeeper() {
	select {
	case r.wake <- struct{}{}:
	default: // already signalled
	}
}

// Key returns the key in a slot. The error is an [im.ShreddedError], [im.ErrNoKey], or the error of
// reading the file.
func (r *Ring) Key(s im.Slot) (im.Key, error) { return r.pages.key(s) }

// Shred overwrites keys and returns once that is on the disk. Concurrent calls share a
// sync. A key that is already shredded keeps its code, except that [im.ShredRemoved]
// replaces other codes. Slots without a key are ignored. After an error any part may have
// been done; call Shred again with the same list. An empty list only raises the epoch.
func (r *Ring) Shred(list []im.Shredding) error {
	for _, s := range list {
		if !s.Code.Valid() {
			return fmt.Errorf("keyring: %v is not a valid shred code", s.Code)
		}
	}
	w := &shredding{list: list, done: make(chan error, 1)}
	r.mu.Lock()
	if r.state == closing {
		r.mu.Unlock()
		return ErrClosed
	}
	r.waiting = append(r.waiting, w)
	r.wakeKeeper()
	r.mu.Unlock()
	return <-w.done
}

// Live returns up to limit slots greater than after that hold a key, in ascending order.
// They include keys that earlier rings made and never used. Slots that this ring gives out
// are not included.
func (r *Ring) Live(after im.Slot, limit int) ([]im.Slot, error) {
	r.mu.Lock()
	end := r.pages.end()
	if r.begun != 0 {
		end = min(end, r.begun)
	}
	r.mu.Unlock()
	var live []im.Slot
	for s := max(after+1, firstSlot); s < end && len(live) < limit; s++ {
		switch _, err := r.Key(s); {
		case err == nil:
			live = append(live, s)
		case !errors.As(err, new(*im.ShreddedError)):
			return live, err
		}
	}
	return live, nil
}

// Close finishes waiting calls of Shred, shreds the keys that were not given out, and
// closes the file.
func (r *Ring) Close() error {
	r.mu.Lock()
	if r.state == closing {
		r.mu.Unlock()
		<-r.ended
		return nil
	}
	r.state = closing
	r.made.Broadcast()
	r.wakeKeeper()
	r.mu.Unlock()
	<-r.ended
	r.pages.forget()
	return r.file.Close()
}
