package keyring

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
)

var errPower = errors.New("the power was cut")

// sector is the number of bytes that a disk writes atomically.
const sector = 512

// disk is a file on a disk that can lose power, and whose writes and syncs can fail. Unsynced
// writes are then lost, completely or in part.
type disk struct {
	mu      sync.Mutex
	random  *rand.Rand
	durable []byte // survives a power cut
	seen    []byte // what reads return
	dirty   []span // written since the last sync
	cutIn   int    // operations until the power cut; 0 is never
	failIn  int    // operations until a failure; 0 is never
	failed  int
	off     bool
	holes   int
}

type span struct{ from, to int }

// step counts a write or a sync and returns its error.
func (d *disk) step() error {
	if d.off {
		return errPower
	}
	if d.cutIn > 0 {
		if d.cutIn--; d.cutIn == 0 {
			d.cut()
			return errPower
		}
	}
	if d.failIn > 0 {
		if d.failIn--; d.failIn == 0 {
			d.failed++
			return syscall.EIO
		}
	}
	return nil
}

// cut cuts the power. Any subset of the dirty sectors may have reached the disk.
func (d *disk) cut() {
	for _, s := range d.dirty {
		for from := s.from / sector * sector; from < s.to; from += sector {
			if d.random.IntN(2) == 0 {
				d.keep(span{max(from, s.from), min(from+sector, s.to)})
			}
		}
	}
	d.dirty, d.off = nil, true
}

// keep makes a span durable.
func (d *disk) keep(s span) {
	if s.to > len(d.durable) {
		d.durable = append(d.durable, make([]byte, s.to-len(d.durable))...)
	}
	copy(d.durable[s.from:s.to], d.seen[s.from:s.to])
}

func (d *disk) WriteAt(b []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.step()
	if errors.Is(err, errPower) {
		return 0, err
	}
	if err != nil {
		// Write up to the end of a sector, or nothing.
		if n := (int(off)+d.random.IntN(len(b)+1))/sector*sector - int(off); n < len(b) {
			b = b[:max(n, 0)]
		}
	}
	to := int(off) + len(b)
	if to > len(d.seen) {
		d.seen = append(d.seen, make([]byte, to-len(d.seen))...)
	}
	copy(d.seen[off:], b)
	d.dirty = append(d.dirty, span{int(off), to})
	return len(b), err
}

func (d *disk) ReadAt(b []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off >= int64(len(d.seen)) {
		return 0, io.EOF
	}
	n := copy(b, d.seen[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Sync may fail as on Linux: after a failed sync, dirty pages count as clean whether or not
// they reached the disk, and later syncs report no error.
func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.step()
	if errors.Is(err, errPower) {
		return err
	}
	for _, s := range d.dirty {
		if err == nil || d.random.IntN(2) == 0 {
			d.keep(s)
		}
	}
	d.dirty = nil
	return err
}

func (d *disk) Punch(off, n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	clear(d.seen[off:min(int(off+n), len(d.seen))])
	d.dirty = append(d.dirty, span{int(off), min(int(off+n), len(d.seen))})
	d.holes++
	return nil
}

func (d *disk) Size() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.seen)), nil
}

func (d *disk) Close() error { return nil }

// afterPowerCut returns the disk as it is when power returns.
func (d *disk) afterPowerCut() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		d.cut()
	}
	return &disk{random: d.random, durable: d.durable, seen: append([]byte(nil), d.durable...)}
}

// slowDisk blocks a sync until it may proceed.
type slowDisk struct {
	*disk
	slow    atomic.Bool
	syncs   atomic.Int64
	syncing chan struct{}
	proceed chan struct{}
}

func (d *slowDisk) Sync() error {
	d.syncs.Add(1)
	if d.slow.Load() {
		d.syncing <- struct{}{}
		<-d.proceed
	}
	return d.disk.Sync()
}
