package keyring

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
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
	first Slot
	keys  []Key
}

// shredding is a call of Shred that waits.
type shredding struct {
	list []Shredding
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
	r.waiting = nil
	last = r.state == closing
	var unused []Shredding
	if last {
		wanted = false
		for _, e := range r.ready {
			for i := range e.keys {
				unused = append(unused, Shredding{e.first + Slot(i), Removed})
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
	var made extent
	var notMade error
	if wanted {
		made, notMade = writeExtent(r.file, first, size)
	}
	if len(touched) > 0 || wanted && notMade == nil {
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
		r.next += Slot(len(e.keys))
		r.pages.extend(r.next)
		r.ready = append(r.ready, e)
		r.left += len(e.keys)
		r.size = min(2*r.size, mostExtent)
	}
	r.made.Broadcast()
}

var errFull = errors.New("keyring: no slots are left")

// writeExtent makes keys and writes them.
func writeExtent(f io.WriterAt, first Slot, size int) (extent, error) {
	if first > maxSlot-Slot(size) {
		return extent{}, errFull
	}
	e := extent{first: first, keys: make([]Key, size)}
	b := make([]byte, size*KeySize)
	_, _ = rand.Read(b) // never fails, says crypto/rand
	for i := range e.keys {
		for blank(Key(b[i*KeySize:])) { // once in 2^120
			_, _ = rand.Read(b[i*KeySize : (i+1)*KeySize])
		}
		e.keys[i] = Key(b[i*KeySize:])
	}
	_, err := f.WriteAt(b, first.offset())
	clear(b)
	return e, err
}

// pages are the newest pages that were read, so that a page of messages does not take a
// system call for each.
type pages struct {
	file file

	mu    sync.RWMutex
	limit Slot // the slots from here on were never made
	cache map[uint64]*page
}

type page [pageSize]byte

// mostPages bounds the memory of pages: 4 MiB.
const mostPages = 1024

func (p *pages) end() Slot {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.limit
}

// extend says that slots were made up to one.
func (p *pages) extend(end Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A page that is there may be of before.
	for n := range p.cache {
		if n >= p.limit.page() {
			p.drop(n)
		}
	}
	p.limit = end
}

func (p *pages) key(s Slot) (Key, error) {
	p.mu.RLock()
	if s < firstSlot || s >= p.limit {
		p.mu.RUnlock()
		return Key{}, ErrNoKey
	}
	if b := p.cache[s.page()]; b != nil {
		defer p.mu.RUnlock()
		return read(b.slot(s))
	}
	p.mu.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.load(s.page())
	if err != nil {
		return Key{}, err
	}
	return read(b.slot(s))
}

// slot returns the bytes of a slot.
func (b *page) slot(s Slot) []byte {
	at := s % perPage * KeySize
	return b[at : at+KeySize]
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
func (p *pages) shred(list []Shredding) (touched []uint64, err error) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Shredding) int { return cmp.Compare(a.Slot, b.Slot) })
	for len(list) > 0 {
		n := list[0].Slot.page()
		end := 1
		for end < len(list) && list[end].Slot.page() == n {
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
func (p *pages) shredPage(n uint64, list []Shredding) (written bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if list[len(list)-1].Slot < firstSlot || list[0].Slot >= p.limit {
		return false, nil
	}
	b, err := p.load(n)
	if err != nil {
		return false, err
	}
	var from, to Slot // a run that is written at once
	write := func() {
		if from < to {
			_, failed := p.file.WriteAt(b[from%perPage*KeySize:][:(to-from)*KeySize], from.offset())
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
func (b *page) shred(s Shredding) {
	if _, err := read(b.slot(s.Slot)); err == nil || s.Code == Removed {
		gone := shredded(s.Code)
		copy(b.slot(s.Slot), gone[:])
	}
}

// blank overwrites keys in memory, in those pages that are there.
func (p *pages) blank(list []Shredding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range list {
		if b := p.cache[s.Slot.page()]; b != nil && s.Slot < p.limit {
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
	for s := range Slot(perPage) {
		k := Key(b.slot(s))
		if code := Code(k[KeySize-1]); !blank(k) || code != 0 && code != Removed {
			return false
		}
	}
	return true
}
