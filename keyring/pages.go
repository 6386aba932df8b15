package keyring

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/imapi/imapi/im"
)

// pages caches pages of the file that were read, so that a page of messages does not cost a
// system call for each key.
type pages struct {
	file File

	mu    sync.RWMutex
	limit im.Slot // the first slot that was never made
	cache map[uint64]*page
}

type page [pageSize]byte

// maxPages bounds the memory of the cache to 4 MiB.
const maxPages = 1024

func (p *pages) end() im.Slot {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.limit
}

// extend records that slots below end have been made.
func (p *pages) extend(end im.Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A cached page may be from before the extent was written.
	for n := range p.cache {
		if n >= pageOf(p.limit) {
			p.drop(n)
		}
	}
	p.limit = end
}

// readAt reads from the file. It waits while keys are being shredded.
func (p *pages) readAt(b []byte, at int64) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, err := p.file.ReadAt(b, at)
	return err
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

// load returns a page from the cache or the file. mu must be held.
func (p *pages) load(n uint64) (*page, error) {
	if b := p.cache[n]; b != nil {
		return b, nil
	}
	b := new(page)
	// The last page may be incomplete. The missing slots are past the limit.
	if _, err := p.file.ReadAt(b[:], int64(n)*pageSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("keyring: read keys: %w", err)
	}
	if p.cache == nil {
		p.cache = make(map[uint64]*page)
	}
	for other := range p.cache {
		if len(p.cache) < maxPages {
			break
		}
		p.drop(other)
	}
	p.cache[n] = b
	return b, nil
}

// drop overwrites a page in memory and drops it from the cache. mu must be held.
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

// shred overwrites keys in memory and in the file, and returns the pages it has written to.
// It does not sync.
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

// shredPage shreds slots of one page, in ascending order. It also writes slots that are
// already shredded in memory, because an earlier call may have failed between write and
// sync.
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
	var from, to im.Slot // a run for a single write
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

// shred overwrites a key in memory. A key that is already shredded keeps its code, unless the new
// code is [im.ShredRemoved].
func (b *page) shred(s im.Shredding) {
	if _, err := read(b.slot(s.Slot)); err == nil || s.Code == im.ShredRemoved {
		mark := shredMark(s.Code)
		copy(b.slot(s.Slot), mark[:])
	}
}

// shredCached overwrites keys in the pages that are cached.
func (p *pages) shredCached(list []im.Shredding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range list {
		if b := p.cache[pageOf(s.Slot)]; b != nil && s.Slot < p.limit {
			b.shred(s)
		}
	}
}

// punch makes holes of pages whose keys are all shredded as removed. It only saves space,
// so errors are ignored.
func (p *pages) punch(touched []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range touched {
		if (n+1)*perPage > uint64(p.limit) {
			continue
		}
		if b, err := p.load(n); err == nil && b.allRemoved() {
			_ = p.file.Punch(int64(n)*pageSize, pageSize)
		}
	}
}

// allRemoved reports whether every slot of a page is shredded as removed, or reads as zeros, as in
// a hole.
func (b *page) allRemoved() bool {
	for s := range im.Slot(perPage) {
		k := im.Key(b.slot(s))
		if code := im.ShredCode(k[im.KeySize-1]); !isShredded(k) || code != 0 && code != im.ShredRemoved {
			return false
		}
	}
	return true
}
