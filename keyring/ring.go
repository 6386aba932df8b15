package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/imapi/imapi/im"
)

// ErrClosed says that the ring was closed, or that [Ring.Begin] was not called.
var ErrClosed = errors.New("keyring: no keys are given out")

// Ring is a key file that is open. It is safe for concurrent use.
type Ring struct {
	header Header
	file   File
	wake   chan struct{} // holds one: there is something for the keeper to do
	ended  chan struct{} // the keeper has
	pages  pages

	mu      sync.Mutex
	made    *sync.Cond // an extent was made, or could not be
	state   state
	ready   []extent // on the disk, oldest first, and not given out yet
	left    int      // the keys in them
	next    im.Slot  // of the extent that is made next
	size    int      // how many slots it has
	wanted  bool
	fails   int   // how often none could be made
	failure error // why the last could not
	waiting []*shredding

	epoch uint64 // of the newest shredding, which may have failed
	kept  uint64 // of the newest that is on the disk

	begun im.Slot // the first slot that is given out by this ring; 0 before Begin
}

type state int

const (
	opened state = iota // keys are read and shredded
	begun               // and given out
	closing
)

// Create makes a key file for a store. The error is fs.ErrExist if there is one.
func Create(path string, store im.StoreID) error {
	if err := createFile(path, newHeader(store)); err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	return nil
}

// Open opens the key file of a store for this process alone, until Close. Keys can be
// read and shredded; none are given out before [Ring.Begin], and nothing is written, so
// that a caller may look whether the file fits its data. Errors have fs.ErrNotExist,
// [ErrInUse], [ErrNotKeys], [ErrTorn], [ErrOlder], [ErrNewer] or [ErrForeign] in their
// chain.
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

// OpenOn is [Open] on a file that the caller has, and lets nobody else use. The ring closes
// it, unless OpenOn fails.
func OpenOn(f File, store im.StoreID) (*Ring, error) { return open(f, store) }

// ReadHeader returns what a key file says of itself. It does not lock it.
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
		header: h, file: f, epoch: epoch, kept: epoch, size: leastExtent,
		next: min(im.Slot((size+im.KeySize-1)/im.KeySize), maxSlot),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		// What is cut off within a slot is not one.
		pages: pages{file: f, limit: min(im.Slot(size/im.KeySize), maxSlot)},
	}
	r.made = sync.NewCond(&r.mu)
	go r.keep()
	return r, nil
}

// Store returns the id of the store whose keys these are.
func (r *Ring) Store() im.StoreID { return r.header.Store }

// SearchKey returns what the words of the search index are hashed with.
func (r *Ring) SearchKey() [32]byte { return r.header.SearchKey }

// Epoch returns how often keys were shredded, ever: each call of [Ring.Shred] that was
// answered has raised it, and it is on the disk. Of two copies of the file the newer one
// has the greater.
func (r *Ring) Epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept
}

// Raise has the next [Ring.Shred] make the epoch greater than this one.
func (r *Ring) Raise(epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch = max(r.epoch, epoch)
}

// End returns the slot after the last one that was made.
func (r *Ring) End() im.Slot { return r.pages.end() }

// Begin has the ring give out keys, from a new extent on: none of its slots was given
// out before, also if the process that had the file crashed. Nor is one as great as
// past, the greatest slot that the data name: in an older copy of the file, the slots
// after its end were given out, too. It returns once the first keys are on the disk.
func (r *Ring) Begin(past im.Slot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state != opened:
		return ErrClosed
	case past > maxSlot:
		return errFull
	}
	// The page after the last one that was begun: a torn extent is passed over whole.
	r.next = max(r.next+perPage-1, past+perPage, firstSlot) / perPage * perPage
	r.begun, r.state = r.next, begun
	return r.await()
}

// Next gives out a key that was never given out and will not be again. Keys are made
// ahead of use, so it waits only if the disk does not keep up. The error is that of
// making more: the next call tries anew.
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

// await returns, with mu held, once there are keys to give out. The error is that of
// making them.
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

// want has the keeper make an extent.
func (r *Ring) want() {
	if !r.wanted && r.state == begun {
		r.wanted = true
		r.rouse()
	}
}

func (r *Ring) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // it is about to look
	}
}

// Key returns the key in a slot. The error is a [ShreddedError], or [ErrNoKey].
func (r *Ring) Key(s im.Slot) (im.Key, error) { return r.pages.key(s) }

// Shred destroys keys, and returns once they are gone from the disk. Many calls share
// one sync. A key that was shredded already keeps its code, unless it is to be
// [Removed], which overrides others. A slot without a key is passed over. After an error
// any part may have been done: call again with the same. An empty list raises the
// epoch alone.
func (r *Ring) Shred(list []im.Shredding) error {
	for _, s := range list {
		if !s.Code.Valid() {
			return fmt.Errorf("keyring: %v is no code to shred a key with", s.Code)
		}
	}
	w := &shredding{list: list, done: make(chan error, 1)}
	r.mu.Lock()
	if r.state == closing {
		r.mu.Unlock()
		return ErrClosed
	}
	r.waiting = append(r.waiting, w)
	r.rouse()
	r.mu.Unlock()
	return <-w.done
}

// Live returns up to most slots after one that have a key, in order: the used and, of
// rings before this one, those that were made and never used. Those that this ring gives
// out are not among them.
func (r *Ring) Live(after im.Slot, most int) ([]im.Slot, error) {
	r.mu.Lock()
	end := r.pages.end()
	if r.begun != 0 {
		end = min(end, r.begun)
	}
	r.mu.Unlock()
	var live []im.Slot
	for s := max(after+1, firstSlot); s < end && len(live) < most; s++ {
		switch _, err := r.Key(s); {
		case err == nil:
			live = append(live, s)
		case !errors.As(err, new(*im.ShreddedError)):
			return live, err
		}
	}
	return live, nil
}

// Close ends the ring after the shreddings that wait, and shreds the keys that were made
// and not given out.
func (r *Ring) Close() error {
	r.mu.Lock()
	if r.state == closing {
		r.mu.Unlock()
		<-r.ended
		return nil
	}
	r.state = closing
	r.made.Broadcast()
	r.rouse()
	r.mu.Unlock()
	<-r.ended
	r.pages.forget()
	return r.file.Close()
}
