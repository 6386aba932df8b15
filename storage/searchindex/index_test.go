package searchindex

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/imapi/imapi/search"
)

// TestModel: whatever comes and goes in whatever order, with the index closed well, left
// as a crash leaves it, or made anew in between, what is found is what a look at each
// message gives, and in the end the file has what is there.
func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		random := talker{rand.New(rand.NewPCG(seed, 71))}
		l := newLibrary(t, Options{FlushAt: 1 + random.IntN(300), most: 200 + random.IntN(1000)})
		next := int64(1)
		for range 150 {
			switch random.IntN(12) {
			case 0, 1, 2, 3, 4:
				list := map[int64]said{}
				for range 1 + random.IntN(80) {
					next += 1 + random.Int64N(1000)
					list[next] = random.message()
				}
				l.say(list)
			case 5: // an import
				list := map[int64]said{}
				for range 1 + random.IntN(300) {
					if id := 1 + random.Int64N(next); l.there[id] == (said{}) {
						list[id] = random.message()
					}
				}
				l.say(list)
			case 6, 7:
				ids := slices.Sorted(maps.Keys(l.there))
				random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
				l.erase(ids[:min(len(ids), 1+random.IntN(20))]...)
			case 8: // retention
				ids := slices.Sorted(maps.Keys(l.there))
				l.erase(ids[:len(ids)*random.IntN(100)/100]...)
			case 9:
				if err := l.Close([]byte{byte(next)}); err != nil {
					t.Fatal(err)
				}
				l.open([]byte{byte(next)})
			case 10: // as a crash leaves it
				if random.IntN(2) == 0 {
					l.settled()
				}
				kill(t, l)
				l.open([]byte("none"))
			case 11:
				if random.IntN(3) == 0 {
					l.Doubt()
				} else if random.IntN(3) == 0 {
					if err := l.Reindex(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 3 {
				words := random.word()
				if random.IntN(3) == 0 {
					words += " " + random.word()
				}
				from, below := int64(0), int64(math.MaxInt64)
				if random.IntN(3) == 0 {
					from, below = random.Int64N(next), random.Int64N(next)
				}
				l.check(words, random.conversations(), from, below)
			}
		}
		l.whole()
	}
}

// kill leaves the index as a crash does: with the files as they are at some moment.
func kill(t *testing.T, l *library) {
	t.Helper()
	copies := map[string][]byte{}
	// The index may write in between: SQLite finds out how much of its log is whole.
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(l.path + end)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		copies[end] = data
	}
	if err := l.Close(nil); err != nil {
		t.Fatal(err)
	}
	for end, data := range copies {
		if err := os.WriteFile(l.path+end, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFailures: whichever statement fails, once or for a while, nothing that is there is
// not found, and in the end all of it is in the file.
func TestFailures(t *testing.T) {
	for _, failure := range []error{syscall.EIO, syscall.ENOSPC, errDamaged} {
		var fails atomic.Bool
		var countdown atomic.Int64
		l := newLibrary(t, Options{FlushAt: 50, fault: func(string) error {
			if fails.Load() || countdown.Add(-1) == 0 {
				return failure
			}
			return nil
		}})
		random := talker{rand.New(rand.NewPCG(5, 72))}
		next := int64(1)
		for round := range int64(60) {
			list := map[int64]said{}
			for range 40 {
				next += 1 + random.Int64N(1000)
				list[next] = random.message()
			}
			countdown.Store(1 + round*7)
			fails.Store(round%10 == 9)
			l.say(list)
			ids := slices.Sorted(maps.Keys(l.there))
			l.erase(ids[random.IntN(len(ids))], ids[random.IntN(len(ids))])
			for range 3 {
				l.check(random.word(), random.conversations(), 0, math.MaxInt64)
			}
		}
		fails.Store(false)
		countdown.Store(0)
		l.whole()
		if s := l.State(); s.Failures == 0 {
			t.Errorf("%v: nothing failed", failure)
		}
	}
}

// TestErasedLeavesTheFile: of messages that were erased, a few among others, most of a
// segment, and all of it, no entry that they had alone is left in any file, and those of
// the others are.
func TestErasedLeavesTheFile(t *testing.T) {
	for name, part := range map[string]int{"few": 50, "many": 3, "nearly all": 100} {
		t.Run(name, func(t *testing.T) {
			l := newLibrary(t, Options{FlushAt: 500})
			random := talker{rand.New(rand.NewPCG(6, 73))}
			list := map[int64]said{}
			for id := range int64(4000) {
				m := random.message()
				m.words += " " + mark(id)
				list[id+1] = m
				if len(list) == 250 {
					l.say(list)
					l.settled()
					list = map[int64]said{}
				}
			}
			var gone []int64
			kept := map[int64]bool{}
			for id := range int64(4000) {
				if goes := id%int64(part) == 0; goes == (name != "nearly all") {
					gone = append(gone, id+1)
				} else {
					kept[id+1] = true
				}
			}
			for some := range slices.Chunk(gone, 700) {
				l.erase(some...)
				l.settled()
			}
			l.whole()
			l.emptied()
			found := l.traces()
			for _, id := range gone {
				if found[id] {
					t.Fatalf("an entry of message %d is left", id)
				}
			}
			for id := range kept {
				if !found[id] {
					t.Fatalf("the entry of message %d is not found", id)
				}
			}
		})
	}
}

// mark is a word that a message has alone.
func mark(id int64) string {
	return string([]rune{0x4e00 + rune(id), 0x6e00 + rune(id%1000)})
}

// emptied waits until the write-ahead log has nothing of what was taken out.
func (l *library) emptied() {
	l.Helper()
	if err := l.Close(nil); err != nil {
		l.Fatal(err)
	}
	l.open(nil)
	l.settled()
}

// traces returns the messages of which the files have the entry of their mark, as it
// stands beside a document.
func (l *library) traces() map[int64]bool {
	l.Helper()
	paths, err := filepath.Glob(l.path + "*")
	if err != nil || len(paths) == 0 {
		l.Fatal(err)
	}
	at := map[[entrySize]byte]int64{}
	for id := range int64(4000) {
		for _, e := range l.Hasher().Document(mark(id), 0, 0) {
			if h := packEntries([]search.Entry{e}); e == l.Hasher().Query(search.Parse(mark(id)), search.Scope{})[0][0] {
				at[[entrySize]byte(h)] = id + 1
			}
		}
	}
	found := map[int64]bool{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			l.Fatal(err)
		}
		for i := 0; i+entrySize <= len(data); i++ {
			if id, ok := at[[entrySize]byte(data[i:])]; ok {
				found[id] = true
			}
		}
	}
	return found
}

// TestCopyAloneSaysNothing: without the key nobody learns from the file whether a word is
// in it, not even one who knows all words, nor which data it is of.
func TestCopyAloneSaysNothing(t *testing.T) {
	l := newLibrary(t, Options{FlushAt: 1})
	l.say(map[int64]said{1: {1, "a secret word"}})
	l.settled()
	if err := l.Close(nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	entries := func(key byte) (list [][]byte) {
		for _, e := range search.NewHasher(bytes.Repeat([]byte{key}, search.KeySize)).Document("secret", 1, 0) {
			list = append(list, packEntries([]search.Entry{e}))
		}
		return list
	}
	for _, e := range entries(0) {
		if !bytes.Contains(data, e) {
			t.Error("with the key an entry is not found")
		}
	}
	for _, e := range append(entries(1), []byte("secret"), []byte("these"), make([]byte, search.KeySize/2, search.KeySize)[:0:0]) {
		if len(e) > 0 && bytes.Contains(data, e) {
			t.Errorf("the file has %q", e)
		}
	}
}

// TestOtherKey: a file that was made with another key, or of other data, is made anew.
func TestOtherKey(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Key = bytes.Repeat([]byte{1}, search.KeySize) },
		func(o *Options) { o.Data = []byte("those") },
	} {
		l := newLibrary(t, Options{FlushAt: 1})
		l.say(map[int64]said{1: {1, "alpha"}, 2: {1, "beta"}})
		l.settled()
		if err := l.Close([]byte("mark")); err != nil {
			t.Fatal(err)
		}
		change(&l.options)
		l.there[3], l.sorted = said{1, "alpha"}, nil
		l.open([]byte("mark"))
		l.check("alpha", nil, 0, math.MaxInt64)
		l.whole()
		l.check("alpha", nil, 0, math.MaxInt64)
	}
}

// TestMerge: many small segments become few, and those of which nothing is left go.
func TestMerge(t *testing.T) {
	l := newLibrary(t, Options{FlushAt: 1})
	c, err := openConn(l.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	id := int64(0)
	for range 10 {
		list := map[int64]said{}
		for range 13_000 {
			id++
			list[id] = said{1, "word"}
		}
		l.say(list)
		l.settled()
	}
	l.whole()
	n, err := c.integer("SELECT count(*) FROM segments")
	if err != nil || n > 5 {
		t.Errorf("%d segments, %v", n, err)
	}
	ids := slices.Sorted(maps.Keys(l.there))
	l.erase(ids[:120_000]...)
	l.whole()
	if n, err = c.integer("SELECT count(*) FROM segments"); err != nil || n > 2 {
		t.Errorf("%d segments, %v", n, err)
	}
	l.erase(ids[120_000:]...)
	l.whole()
	for _, table := range []string{"segments", "ids", "documents", "lists"} {
		if n, err := c.integer("SELECT count(*) FROM " + table); err != nil || n != 0 {
			t.Errorf("%d %s, %v", n, table, err)
		}
	}
}

// TestPairs: what is written of pairs is read again.
func TestPairs(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 74))
	for range 100 {
		var list []pair
		for range random.IntN(3000) {
			list = append(list, pair(random.Uint64N(1<<(1+random.UintN(56)))))
		}
		slices.Sort(list)
		list = slices.Compact(list)
		var got []pair
		for rest := list; len(rest) > 0; {
			var block []byte
			block, rest = encodeBlock(rest, blockSize)
			if len(block) > blockSize+10 {
				t.Fatalf("a block of %d bytes", len(block))
			}
			var err error
			if got, err = appendPairs(got, block); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, list) {
			t.Fatal("other pairs were read than written")
		}
	}
}

// FuzzPairs: a block that is not what was written is refused, or is one of rising pairs.
func FuzzPairs(f *testing.F) {
	block, _ := encodeBlock([]pair{0, 1, 1 << 50, 1<<50 + 3}, blockSize)
	f.Add(block)
	f.Add(bytes.Repeat([]byte{0xff}, 12))
	f.Fuzz(func(t *testing.T, block []byte) {
		list, err := appendPairs(nil, block)
		if err == nil && !slices.IsSorted(list) {
			t.Errorf("%v", list)
		}
	})
}
