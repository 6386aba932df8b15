package searchindex

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/search"
)

// TestModel runs random operations: messages are added and erased in any order, and the
// index is closed, crashed and rebuilt in between. Searches must find what a scan of all
// messages finds, and in the end the file must match the database.
func TestModel(t *testing.T) {
	for seed := range testsize.Pick[uint64](6, 3) {
		random := generator{rand.New(rand.NewPCG(seed, 71))}
		l := newFixture(t, Options{FlushAt: 1 + random.IntN(300), maxItems: 200 + random.IntN(1000)})
		next := int64(1)
		for range testsize.Pick(150, 60) {
			switch random.IntN(12) {
			case 0, 1, 2, 3, 4:
				list := map[int64]message{}
				for range 1 + random.IntN(80) {
					next += 1 + random.Int64N(1000)
					list[next] = random.message()
				}
				l.commit(list)
			case 5: // import
				list := map[int64]message{}
				for range 1 + random.IntN(300) {
					if id := 1 + random.Int64N(next); l.messages[id] == (message{}) {
						list[id] = random.message()
					}
				}
				l.commit(list)
			case 6, 7:
				ids := slices.Sorted(maps.Keys(l.messages))
				random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
				l.erase(ids[:min(len(ids), 1+random.IntN(20))]...)
			case 8: // retention
				ids := slices.Sorted(maps.Keys(l.messages))
				l.erase(ids[:len(ids)*random.IntN(100)/100]...)
			case 9:
				if err := l.Close([]byte{byte(next)}); err != nil {
					t.Fatal(err)
				}
				l.open([]byte{byte(next)})
			case 10: // crash
				if random.IntN(2) == 0 {
					l.waitIdle()
				}
				kill(t, l)
				l.open([]byte("none"))
			case 11:
				if random.IntN(3) == 0 {
					l.VerifyAll()
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
				l.checkSearch(words, random.conversations(), from, below)
			}
		}
		l.checkComplete()
	}
}

// kill leaves the files behind as a crash does, as they are at some moment.
func kill(t *testing.T, l *fixture) {
	t.Helper()
	copies := map[string][]byte{}
	// The index may write between the two reads. SQLite detects how much of its log is
	// valid.
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

// TestFailures makes any statement fail, once or for a while. Searches must still find every
// message, and in the end the file must match the database.
func TestFailures(t *testing.T) {
	for _, failure := range []error{syscall.EIO, syscall.ENOSPC, errDamaged} {
		var fails atomic.Bool
		var countdown atomic.Int64
		l := newFixture(t, Options{FlushAt: 50, fault: func(string) error {
			if fails.Load() || countdown.Add(-1) == 0 {
				return failure
			}
			return nil
		}})
		random := generator{rand.New(rand.NewPCG(5, 72))}
		next := int64(1)
		for round := range testsize.Pick[int64](60, 20) {
			list := map[int64]message{}
			for range 40 {
				next += 1 + random.Int64N(1000)
				list[next] = random.message()
			}
			countdown.Store(1 + round*7)
			fails.Store(round%10 == 9)
			l.commit(list)
			ids := slices.Sorted(maps.Keys(l.messages))
			l.erase(ids[random.IntN(len(ids))], ids[random.IntN(len(ids))])
			for range 3 {
				l.checkSearch(random.word(), random.conversations(), 0, math.MaxInt64)
			}
		}
		fails.Store(false)
		countdown.Store(0)
		l.checkComplete()
		if s := l.State(); s.Failures == 0 {
			t.Errorf("%v: no failure was counted", failure)
		}
	}
}

// TestErasedEntriesAreDeleted checks that no file keeps an entry of an erased message, whether few,
// many or all messages of a segment are erased, and that the other entries are kept.
func TestErasedEntriesAreDeleted(t *testing.T) {
	for name, part := range map[string]int{"few": 50, "many": 3, "nearly all": 100} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t, Options{FlushAt: 500})
			random := generator{rand.New(rand.NewPCG(6, 73))}
			n := testsize.Pick[int64](4000, 1000)
			list := map[int64]message{}
			for id := range n {
				m := random.message()
				m.words += " " + uniqueWord(id)
				list[id+1] = m
				if len(list) == 250 {
					l.commit(list)
					l.waitIdle()
					list = map[int64]message{}
				}
			}
			var erased []int64
			kept := map[int64]bool{}
			for id := range n {
				if goes := id%int64(part) == 0; goes == (name != "nearly all") {
					erased = append(erased, id+1)
				} else {
					kept[id+1] = true
				}
			}
			for some := range slices.Chunk(erased, 700) {
				l.erase(some...)
				l.waitIdle()
			}
			l.checkComplete()
			l.reopen()
			found := l.entriesInFiles()
			for _, id := range erased {
				if found[id] {
					t.Fatalf("the entry of erased message %d is in the file", id)
				}
			}
			for id := range kept {
				if !found[id] {
					t.Fatalf("the entry of message %d is not in the file", id)
				}
			}
		})
	}
}

// uniqueWord returns a word that only this message has.
func uniqueWord(id int64) string {
	return string([]rune{0x4e00 + rune(id), 0x6e00 + rune(id%1000)})
}

// reopen closes and opens the index, which empties the write-ahead log.
func (l *fixture) reopen() {
	l.Helper()
	if err := l.Close(nil); err != nil {
		l.Fatal(err)
	}
	l.open(nil)
	l.waitIdle()
}

// entriesInFiles returns the messages whose unique word is in a file, as stored with the document.
func (l *fixture) entriesInFiles() map[int64]bool {
	l.Helper()
	paths, err := filepath.Glob(l.path + "*")
	if err != nil || len(paths) == 0 {
		l.Fatal(err)
	}
	at := map[[entrySize]byte]int64{}
	for id := range int64(4000) {
		for _, e := range l.Hasher().Document(uniqueWord(id), 0, 0) {
			if h := packEntries([]search.Entry{e}); e == l.Hasher().Query(search.Parse(uniqueWord(id)), search.Scope{})[0][0] {
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

// TestFileRevealsNothingWithoutKey checks that without the key, nobody can learn from the file
// whether it has a word, or which database it belongs to.
func TestFileRevealsNothingWithoutKey(t *testing.T) {
	l := newFixture(t, Options{FlushAt: 1})
	l.commit(map[int64]message{1: {1, "a secret word"}})
	l.waitIdle()
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
			t.Error("the file does not have the entry that is made with the key")
		}
	}
	for _, e := range append(entries(1), []byte("secret"), []byte("these"), make([]byte, search.KeySize/2, search.KeySize)[:0:0]) {
		if len(e) > 0 && bytes.Contains(data, e) {
			t.Errorf("the file has %q", e)
		}
	}
}

// TestOtherKey checks that a file made with another key or for another database is rebuilt.
func TestOtherKey(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"another key":      func(o *Options) { o.Key = bytes.Repeat([]byte{1}, search.KeySize) },
		"another database": func(o *Options) { o.Data = []byte("those") },
	} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t, Options{FlushAt: 1})
			l.commit(map[int64]message{1: {1, "alpha"}, 2: {1, "beta"}})
			l.waitIdle()
			if err := l.Close([]byte("mark")); err != nil {
				t.Fatal(err)
			}
			change(&l.options)
			l.messages[3], l.sorted = message{1, "alpha"}, nil
			l.open([]byte("mark"))
			l.checkSearch("alpha", nil, 0, math.MaxInt64)
			l.checkComplete()
			l.checkSearch("alpha", nil, 0, math.MaxInt64)
		})
	}
}

// TestOlderFormat checks that a file of an older format is rebuilt although it was closed together
// with the database, that every message is found meanwhile, that no entry of a message that was
// erased since remains, and that the log shows the progress.
func TestOlderFormat(t *testing.T) {
	l := newFixture(t, Options{FlushAt: 100})
	list := map[int64]message{}
	for id := range int64(verifyBatch + 10) {
		list[id+1] = message{1, "word " + uniqueWord(id%4000)}
	}
	l.commit(list)
	l.waitIdle()
	if err := l.Close([]byte("mark")); err != nil {
		t.Fatal(err)
	}
	setFormat(t, l.path, formatVersion-1)
	l.mu.Lock()
	for id := range l.messages {
		if (id-1)%4000 == 5 {
			delete(l.messages, id)
		}
	}
	l.sorted = nil
	l.mu.Unlock()
	var lines bytes.Buffer
	var clock atomic.Int64
	l.options.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	l.options.now = func() time.Time { return time.Unix(reportEvery.Nanoseconds()/1e9*clock.Add(1), 0) }
	l.options.after = time.After
	l.open([]byte("mark"))
	l.checkSearch("word", nil, 0, math.MaxInt64)
	l.checkComplete()
	l.checkSearch(uniqueWord(5), nil, 0, math.MaxInt64)
	if err := l.Close([]byte("mark")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"another version of imapi", `msg="rebuilding the search index" messages=4096 total=4104`,
		`msg="search index rebuilt" messages=4104`,
	} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &lines)
		}
	}
	if found := l.entriesInFiles(); found[6] || !found[7] {
		t.Errorf("the entry of an erased message is in the file: %t; of another one: %t", found[6], found[7])
	}
	lines.Reset()
	l.open([]byte("mark"))
	if !l.State().Complete || lines.Len() > 0 {
		t.Errorf("the file is rebuilt again: %s", &lines)
	}
}

// setFormat changes the version of the format in a file.
func setFormat(t *testing.T, path string, version int64) {
	t.Helper()
	c, err := openConn(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.exec(putMeta, keyFormat, version), c.close()); err != nil {
		t.Fatal(err)
	}
}

// TestMerge checks that small segments are merged and that empty ones are deleted.
func TestMerge(t *testing.T) {
	l := newFixture(t, Options{FlushAt: 1})
	c, err := openConn(l.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	id := int64(0)
	for range 10 {
		list := map[int64]message{}
		for range 13_000 {
			id++
			list[id] = message{1, "word"}
		}
		l.commit(list)
		l.waitIdle()
	}
	l.checkComplete()
	n, err := c.integer("SELECT count(*) FROM segments")
	if err != nil || n > 5 {
		t.Errorf("%d segments, %v", n, err)
	}
	ids := slices.Sorted(maps.Keys(l.messages))
	l.erase(ids[:120_000]...)
	l.checkComplete()
	if n, err = c.integer("SELECT count(*) FROM segments"); err != nil || n > 2 {
		t.Errorf("%d segments, %v", n, err)
	}
	l.erase(ids[120_000:]...)
	l.checkComplete()
	for _, table := range []string{"segments", "ids", "documents", "lists"} {
		if n, err := c.integer("SELECT count(*) FROM " + table); err != nil || n != 0 {
			t.Errorf("%d %s, %v", n, table, err)
		}
	}
}

// TestPairs checks that decoding encoded pairs returns the same pairs.
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
			t.Fatal("decoded other pairs than were encoded")
		}
	}
}

// FuzzPairs checks that a damaged block is refused or decodes to ascending pairs.
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
