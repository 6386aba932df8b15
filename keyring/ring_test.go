package keyring

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

var testStore = im.StoreID{1, 2, 3}

func newDisk(seed uint64) *disk {
	d := &disk{random: rand.New(rand.NewPCG(seed, 1))}
	if _, err := d.WriteAt(newHeader(testStore).page(), 0); err != nil {
		panic(err)
	}
	_ = d.Sync()
	return d
}

// known is what the model knows about a slot.
type known struct {
	key im.Key
	// may holds the codes that the slot may be shredded with. There are several after a failed
	// shredding. 0 means not shredded.
	may []im.ShredCode
}

func (k known) allows(c im.ShredCode) bool { return slices.Contains(k.may, c) }

// shred applies a shredding to the model. done is false if it failed, so that the old codes
// stay possible.
func (k *known) shred(c im.ShredCode, done bool) {
	var after []im.ShredCode
	for _, was := range k.may {
		if was == 0 || c == im.ShredRemoved {
			after = append(after, c)
		} else {
			after = append(after, was)
		}
	}
	if !done {
		after = append(after, k.may...)
	}
	slices.Sort(after)
	k.may = slices.Compact(after)
}

// stateOf returns the key in a slot, or the code it was shredded with.
func stateOf(r *Ring, s im.Slot) (im.Key, im.ShredCode, error) {
	k, err := r.Key(s)
	if shredded, ok := errors.AsType[*im.ShreddedError](err); ok {
		return k, shredded.Code, nil
	}
	return k, 0, err
}

// TestRingAgainstModel runs random operations with power cuts and disk errors. A key that
// was given out must be readable until it is shredded, must have its shred code once Shred
// has returned, and is never given out again.
func TestRingAgainstModel(t *testing.T) {
	for seed := range testsize.Pick[uint64](60, 25) {
		modelRun(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func modelRun(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	d := newDisk(seed)
	all := map[im.Slot]*known{}
	var slots []im.Slot
	var epoch uint64 // of the last shredding that succeeded
	r, err := open(d, testStore)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		if n := r.Epoch(); n < epoch {
			t.Errorf("%s: the epoch is %d, less than %d before", when, n, epoch)
		}
		d.mu.Lock()
		sound := d.failed == 0
		d.mu.Unlock()
		for _, s := range slots {
			key, code, err := stateOf(r, s)
			k := all[s]
			if err != nil || !k.allows(code) || code == 0 && key != k.key {
				t.Errorf("%s: slot %d is %x, %v, %v; want %x or one of %v", when, s, key, code, err, k.key, k.may)
				return
			}
			if sound { // otherwise reads may return data that is not on the disk
				k.may = []im.ShredCode{code}
			}
		}
	}
	begun := false
	for range 60 {
		switch random.IntN(10) {
		case 0, 1, 2, 3: // give out keys
			if !begun {
				begun = r.Begin(0) == nil
			}
			for range 1 + random.IntN(200) {
				s, key, err := r.Next()
				if err != nil {
					break
				}
				begun = true
				if all[s] != nil || s < firstSlot {
					t.Fatalf("slot %d was given out again", s)
				}
				all[s] = &known{key: key, may: []im.ShredCode{0}}
				slots = append(slots, s)
			}
		case 4, 5, 6: // shred keys, at random or in a run
			var list []im.Shredding
			from := random.IntN(len(slots) + 1)
			for n := random.IntN(300); n > 0 && len(slots) > 0; n-- {
				if random.IntN(4) == 0 {
					from = random.IntN(len(slots))
				}
				list = append(list, im.Shredding{Slot: slots[from%len(slots)], Code: im.ShredCode(1 + random.IntN(4))})
				from++
			}
			seen := map[im.Slot]bool{}
			list = slices.DeleteFunc(list, func(s im.Shredding) bool { was := seen[s.Slot]; seen[s.Slot] = true; return was })
			err := r.Shred(list)
			if err == nil {
				epoch = r.Epoch()
			}
			for _, s := range list {
				all[s.Slot].shred(s.Code, err == nil)
			}
		case 7: // schedule a power cut or an error
			d.mu.Lock()
			if random.IntN(2) == 0 {
				d.cutIn = 1 + random.IntN(6)
			} else {
				d.failIn = 1 + random.IntN(4)
			}
			d.mu.Unlock()
		case 8: // cut the power
			d = d.afterPowerCut()
			_ = r.Close()
			if r, err = open(d, testStore); err != nil {
				t.Fatal(err)
			}
			begun = false
			check("after a power cut")
		case 9: // close and reopen
			_ = r.Close()
			d.mu.Lock()
			off := d.off
			d.mu.Unlock()
			if off {
				d = d.afterPowerCut()
			}
			if r, err = open(d, testStore); err != nil {
				t.Fatal(err)
			}
			begun = false
			check("after reopening")
		}
		if t.Failed() {
			return
		}
		d.mu.Lock()
		sound := !d.off && d.failed == 0
		d.mu.Unlock()
		if sound {
			check("while running")
		}
	}
	_ = r.Close()
}

// TestRingConcurrently gives out, reads and shreds keys from many goroutines.
func TestRingConcurrently(t *testing.T) {
	d := newDisk(7)
	r, err := open(d, testStore)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	owner := map[im.Slot]bool{}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				s, key, err := r.Next()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				twice := owner[s]
				owner[s] = true
				mu.Unlock()
				if got, err := r.Key(s); twice || err != nil || got != key {
					t.Errorf("slot %d: given out twice: %t; Key = %x, %v", s, twice, got, err)
				}
				if s%3 != 0 {
					continue
				}
				if err := r.Shred([]im.Shredding{{Slot: s, Code: im.ShredBurned}}); err != nil {
					t.Error(err)
				}
				if _, code, err := stateOf(r, s); code != im.ShredBurned || err != nil {
					t.Errorf("slot %d is %v, %v", s, code, err)
				}
			}
		})
	}
	group.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after Close: %v, want ErrClosed", err)
	}
	if err := r.Shred([]im.Shredding{{Slot: firstSlot, Code: im.ShredBurned}}); !errors.Is(err, ErrClosed) {
		t.Errorf("Shred after Close: %v, want ErrClosed", err)
	}
}

// TestShreddingsShareASync checks that all calls that wait during a sync share the next
// one.
func TestShreddingsShareASync(t *testing.T) {
	d := &slowDisk{disk: newDisk(3), syncing: make(chan struct{}), proceed: make(chan struct{})}
	r, err := open(d, testStore)
	if err != nil {
		t.Fatal(err)
	}
	d.slow.Store(false)
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	var slots []im.Slot
	for range 60 {
		s, _, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, s)
	}
	// By the time this returns, the next extent has been made as well.
	if err := r.Shred([]im.Shredding{{Slot: slots[0], Code: im.ShredRemoved}}); err != nil {
		t.Fatal(err)
	}
	slots = slots[1:]
	before := d.syncs.Load()
	d.slow.Store(true)
	var group sync.WaitGroup
	shred := func(s im.Slot) {
		group.Go(func() {
			if err := r.Shred([]im.Shredding{{Slot: s, Code: im.ShredRevoked}}); err != nil {
				t.Error(err)
			}
		})
	}
	shred(slots[0])
	<-d.syncing
	for _, s := range slots[1:] {
		shred(s)
	}
	for n := 0; n < len(slots)-1; runtime.Gosched() {
		r.mu.Lock()
		n = len(r.waiting)
		r.mu.Unlock()
	}
	d.slow.Store(false)
	close(d.proceed)
	group.Wait()
	if n := d.syncs.Load() - before; n != 2 {
		t.Errorf("%d shreddings took %d syncs", len(slots), n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHoles checks that a page is made a hole if all its keys are shredded as removed, but
// not if one has a tombstone's code, and that both pages read the same as before.
func TestHoles(t *testing.T) {
	d := newDisk(5)
	r, err := open(d, testStore)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	var list []im.Shredding
	for range 3 * perPage {
		s, _, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, im.Shredding{Slot: s, Code: im.ShredRemoved})
	}
	list[perPage+7].Code = im.ShredRevoked
	if err := r.Shred(list); err != nil {
		t.Fatal(err)
	}
	if d.holes != 2 {
		t.Errorf("%d holes, want 2", d.holes)
	}
	check := func() {
		t.Helper()
		for _, s := range list {
			if _, code, err := stateOf(r, s.Slot); code != s.Code || err != nil {
				t.Fatalf("slot %d is %v, %v, want %v", s.Slot, code, err, s.Code)
			}
		}
	}
	check()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = open(d, testStore); err != nil {
		t.Fatal(err)
	}
	check()
	// A hole is also made once the tombstone's key is shredded as removed.
	list[perPage+7].Code = im.ShredRemoved
	before := d.holes
	if err := r.Shred(list[perPage+7 : perPage+8]); err != nil {
		t.Fatal(err)
	}
	if d.holes != before+1 {
		t.Errorf("%d more holes, want 1", d.holes-before)
	}
	check()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOlderCopy checks that keys made after a copy are missing in it, and that no slot that the
// data refer to is given out again.
func TestOlderCopy(t *testing.T) {
	d := newDisk(9)
	r, err := open(d, testStore)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	first, key, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	older := d.afterPowerCut()
	if err := r.Shred([]im.Shredding{{Slot: first, Code: im.ShredExpired}}); !errors.Is(err, errPower) {
		t.Errorf("Shred without power: %v", err)
	}
	if r, err = open(older, testStore); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Key(first); got != key || err != nil {
		t.Errorf("the older copy has %x, %v", got, err)
	}
	last := first + 100_000
	if _, err := r.Key(last); !errors.Is(err, im.ErrNoKey) {
		t.Errorf("a slot past the end: %v", err)
	}
	live, err := r.Live(0, 1000)
	if err != nil || len(live) == 0 || live[0] != first {
		t.Errorf("Live = %v, %v", live, err)
	}
	if err := r.Begin(last); err != nil {
		t.Fatal(err)
	}
	if s, _, err := r.Next(); err != nil || s <= last {
		t.Errorf("Next = %d, %v", s, err)
	}
	after, err := r.Live(0, 1000)
	if err != nil || !slices.Equal(after, live) {
		t.Errorf("Live = %v, %v; it must not include slots of this ring", after, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(0); !errors.Is(err, ErrClosed) {
		t.Errorf("Begin after Close: %v, want ErrClosed", err)
	}
}

// TestFullDisk checks that Next returns an error while no keys can be made, that shredding
// still works, and that Next works again once there is space.
func TestFullDisk(t *testing.T) {
	d := newDisk(11)
	r, err := open(d, testStore)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(0); err != nil {
		t.Fatal(err)
	}
	seen := map[im.Slot]bool{}
	var slot im.Slot
	for failed := 0; failed < 3; {
		d.mu.Lock()
		d.failIn = 1
		d.mu.Unlock()
		s, _, err := r.Next()
		if err != nil {
			failed++
			continue
		}
		if seen[s] {
			t.Fatalf("slot %d was given out again", s)
		}
		seen[s], slot = true, s
	}
	d.mu.Lock()
	d.failIn = 0
	d.mu.Unlock()
	if err := r.Shred([]im.Shredding{{Slot: slot, Code: im.ShredRevoked}}); err != nil {
		t.Error(err)
	}
	if s, _, err := r.Next(); err != nil || seen[s] {
		t.Errorf("after the disk has space again: Next =: %d, %v", s, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
