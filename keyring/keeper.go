package keyring

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/imapi/imapi/im"
)

// Extents begin small and double, so that a server that sends much makes them seldom and
// one that does not leaves little behind when it crashes: at most two of 1 MiB, by 16
// bytes a key.
const (
	leastExtent = perPage
	mostExtent  = 1 << 16
)

// extent is keys that were made at once, in slots that follow each other.
type extent struct {
	first im.Slot
	keys  []im.Key
}

// shredding is a call of Shred that waits.
type shredding struct {
	list []im.Shredding
	done chan error // holds one
}

// keep is the one goroutine that writes to the file: extents and shreddings share a
// sync. Were there two, an error of the disk that the system reports once could be told
// to the wrong one.
func (r *Ring) keep() {
	defer close(r.ended)
	for range r.wake {
		if r.round() {
			return
		}
	}
}

// round does what is to be done, and reports whether that was the last.
func (r *Ring) round() (last bool) {
	r.mu.Lock()
	calls, wanted := r.waiting, r.wanted
	first, size := r.next, r.size
	epoch := r.epoch
	if len(calls) > 0 {
		// Also if it fails: it may be on the disk all the same.
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

	// What was never used comes first: nobody is answered by it.
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
			// Of neither is it known whether it is on the disk. All of it is written
			// again: a page that the system has given up on is clean to it.
			err = errors.Join(err, failed)
			notMade = cmp.Or(notMade, failed)
		}
	}
	if len(list) > 0 {
		r.pages.blank(list) // again: they may have been read from the disk meanwhile
	}
	if err == nil {
		if len(calls) > 0 {
			r.mu.Lock()
			r.kept = epoch
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

// deliver makes an extent known to those who wait for keys, or why there is none.
func (r *Ring) deliver(e extent, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = false
	if err != nil {
		// Nobody has seen its keys, so its slots can be written again. There may be
		// room for a small one.
		r.size = leastExtent
		r.fails++
		r.failure = fmt.Errorf("make keys: %w", err)
	} else {
		r.next += im.Slot(len(e.keys))
		r.pages.extend(r.next)
		r.ready = append(r.ready, e)
		r.left += len(e.keys)
		r.size = min(2*r.size, mostExtent)
	}
	r.made.Broadcast()
}

var errFull = errors.New("keyring: no slots are left")

// writeExtent makes keys and writes them.
func writeExtent(f io.WriterAt, first im.Slot, size int) (extent, error) {
	if first > maxSlot-im.Slot(size) {
		return extent{}, errFull
	}
	e := extent{first: first, keys: make([]im.Key, size)}
	b := make([]byte, size*im.KeySize)
	_, _ = rand.Read(b) // never fails, says crypto/rand
	for i := range e.keys {
		for blank(im.Key(b[i*im.KeySize:])) { // once in 2^120
			_, _ = rand.Read(b[i*im.KeySize : (i+1)*im.KeySize])
		}
		e.keys[i] = im.Key(b[i*im.KeySize:])
	}
	_, err := f.WriteAt(b, offset(first))
	clear(b)
	return e, err
}

// pages are the newest pages that were read, so that a page of messages does not take a
// system call for each.
type pages struct {
	file File

	mu    sync.RWMutex
	limit im.Slot // the slots from here on were never made
	cache map[uint64]*page
}

type page [pageSize]byte

// mostPages bounds the memory of pages: 4 MiB.
const mostPages = 1024

func (p *pages) end() im.Slot {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.limit
}

// extend says that slots were made up to one.
func (p *pages) extend(end im.Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A page that is there may be of before.
	for n := range p.cache {
		if n >= pageOf(p.limit) {
			p.drop(n)
		}
	}
	p.limit = end
}

func (p *pages) key(s im.Slot) (im.Key, error) {
	p.mu.RLock()
	if s < firstSlot || s >= p.limit {
		p.mu.RUnlock()
		return im.Key{}, im.ErrNoKey
	}
	if b := p.cache[pageOf(s)]; b != nil {
		defer p.mu.RUnlock()
		return read(b.slot(s))
	}
	p.mu.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.load(pageOf(s))
	if err != nil {
		return im.Key{}, err
	}
	return read(b.slot(s))
}

// slot returns the bytes of a slot.
func (b *page) slot(s im.Slot) []byte {
	at := s % perPage * im.KeySize
	return b[at : at+im.KeySize]
}

// load returns a page, with mu held.
func (p *pages) load(n uint64) (*page, error) {
	if b := p.cache[n]; b != nil {
		return b, nil
	}
	b := new(page)
	// The last page may be cut off: what is not there is past the limit.
	if _, err := p.file.ReadAt(b[:], int64(n)*pageSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("keyring: read keys: %w", err)
	}
	if p.cache == nil {
		p.cache = make(map[uint64]*page)
	}
	for other := range p.cache {
		if len(p.cache) < mostPages {
			break
		}
		p.drop(other)
	}
	p.cache[n] = b
	return b, nil
}

// drop forgets a page, with mu held.
func (p *pages) drop(n uint64) {
	if b := p.cache[n]; b != nil {
		clear(b[:])
		delete(p.cache, n)
	}
}

func (p *pages) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range p.cache {
		p.drop(n)
	}
	p.limit = 0
}

// shred overwrites keys in memory and in the file, and returns which pages it has
// written to. It is not synced.
func (p *pages) shred(list []im.Shredding) (touched []uint64, err error) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b im.Shredding) int { return cmp.Compare(a.Slot, b.Slot) })
	for len(list) > 0 {
		n := pageOf(list[0].Slot)
		end := 1
		for end < len(list) && pageOf(list[end].Slot) == n {
			end++
		}
		written, failed := p.shredPage(n, list[:end])
		if written {
			touched = append(touched, n)
		}
		err = errors.Join(err, failed)
		list = list[end:]
	}
	return touched, err
}

// shredPage does that for slots of one page, in order. What is shredded already is
// written once more: the call before may have failed between the write and the sync.
func (p *pages) shredPage(n uint64, list []im.Shredding) (written bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if list[len(list)-1].Slot < firstSlot || list[0].Slot >= p.limit {
		return false, nil
	}
	b, err := p.load(n)
	if err != nil {
		return false, err
	}
	var from, to im.Slot // a run that is written at once
	write := func() {
		if from < to {
			_, failed := p.file.WriteAt(b[from%perPage*im.KeySize:][:(to-from)*im.KeySize], offset(from))
			written, err = true, errors.Join(err, failed)
		}
	}
	for _, s := range list {
		if s.Slot >= p.limit {
			break
		}
		b.shred(s)
		if s.Slot > to || from == to {
			write()
			from = s.Slot
		}
		to = s.Slot + 1
	}
	write()
	return written, err
}

// shred overwrites a key in memory.
func (b *page) shred(s im.Shredding) {
	if _, err := read(b.slot(s.Slot)); err == nil || s.Code == im.ShredRemoved {
		gone := shredded(s.Code)
		copy(b.slot(s.Slot), gone[:])
	}
}

// blank overwrites keys in memory, in those pages that are there.
func (p *pages) blank(list []im.Shredding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range list {
		if b := p.cache[pageOf(s.Slot)]; b != nil && s.Slot < p.limit {
			b.shred(s)
		}
	}
}

// punch makes holes of pages in which all was removed. It is for the room alone: what
// fails is left as it is.
func (p *pages) punch(touched []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range touched {
		if (n+1)*perPage > uint64(p.limit) {
			continue
		}
		if b, err := p.load(n); err == nil && b.removed() {
			_ = p.file.Punch(int64(n)*pageSize, pageSize)
		}
	}
}

// removed reports whether a page holds nothing else.
func (b *page) removed() bool {
	for s := range im.Slot(perPage) {
		k := im.Key(b.slot(s))
		if code := im.ShredCode(k[im.KeySize-1]); !blank(k) || code != 0 && code != im.ShredRemoved {
			return false
		}
	}
	return true
}
