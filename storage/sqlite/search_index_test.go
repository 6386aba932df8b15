package sqlite

import (
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

func (t *searchFixture) checkFinds(words string, want ...im.ID) {
	t.Helper()
	got := ids(t.search(im.SearchQuery{Words: words, Conversations: []im.ID{1}, Limit: 100}))
	if !slices.Equal(got, want) {
		t.Errorf("%q: found %v, not %v", words, got, want)
	}
}

// reopen closes the store and opens it with the same options.
func (t *searchFixture) reopen(between func()) {
	t.Helper()
	if err := t.Close(); err != nil {
		t.Fatal(err)
	}
	between()
	t.Store = openAt(t, t.path, Options{Synchronous: "normal", flushAt: t.options.flushAt})
}

func numbered(from, to im.ID) (list []im.Message, found []im.ID) {
	for id := from; id <= to; id++ {
		list = append(list, text(1, id, "word"))
		found = append(found, id)
	}
	return list, newest(found)
}

// TestIndex checks that messages are found as soon as they are stored, whether or not they are in
// the index's file, and after reopening, and that erased messages are not found and leave the file.
func TestIndex(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal", flushAt: 700})
	list, found := numbered(1, 2000)
	for part := range slices.Chunk(list, 90) {
		s.send(part...)
		s.checkFinds("word", found[len(found)-int(part[len(part)-1].ID):]...)
	}
	if n := len(s.indexedEntries()); n < 2000-700 || n == 2000 {
		t.Errorf("the file has %d messages", n)
	}
	s.erase(list[5])
	s.erase(list[1999])
	found = slices.DeleteFunc(found, func(id im.ID) bool { return id == 6 || id == 2000 })
	s.checkFinds("word", found...)
	if index := s.indexedEntries(); index[6] != 0 || index[2000] != 0 || index[5] == 0 {
		t.Error("the file has erased messages")
	}
	s.reopen(func() {})
	if state := s.SearchState(); !state.Complete {
		t.Error("the index is compared with the database after a clean close")
	}
	s.checkFinds("word", found...)
	if index := s.indexedEntries(); len(index) != 1998 {
		t.Errorf("the file has %d messages, want 1998", len(index))
	}
	more, _ := numbered(2001, 3000)
	s.send(more...)
	if got := s.indexedEntries(); len(got) <= 1998 {
		t.Errorf("the file still has %d messages", len(got))
	}
}

// TestIndexOutOfOrder checks messages with lower ids than existing ones, as an import
// stores them.
func TestIndexOutOfOrder(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal", flushAt: 3})
	s.send(text(1, 100, "word"), text(1, 50, "word"), text(1, 70, "word"))
	s.checkFinds("word", 100, 70, 50)
	s.send(text(1, 200, "word"))
	s.send(text(1, 60, "word"), text(1, 300, "word"), text(1, 250, "word"))
	s.checkFinds("word", 300, 250, 200, 100, 70, 60, 50)
	s.erase(text(1, 60, "word"))
	s.checkFinds("word", 300, 250, 200, 100, 70, 50)
	if _, exists := s.indexedEntries()[60]; exists {
		t.Error("the file has an erased message")
	}
}

// TestIndexOfOtherData checks that all messages are found, and the index is rebuilt, whatever file
// exists under its name when the store is opened.
func TestIndexOfOtherData(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, path string){
		"nothing": func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"garbage": func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 10_000), 0o600)) },
		"torn":    func(t *testing.T, path string) { must(t, os.Truncate(path, 8192)) },
		"of an older format": func(t *testing.T, path string) {
			db, err := sql.Open("sqlite3", dataSource(path))
			must(t, err)
			_, err = db.ExecContext(t.Context(), "UPDATE meta SET value = value - 1 WHERE key = 'format'")
			must(t, err)
			must(t, db.Close())
		},
		"of another store": func(t *testing.T, path string) {
			other := newSearchFixture(t, 1, Options{Synchronous: "normal"})
			other.send(text(1, 1, "word"), text(1, 2, "word"))
			must(t, other.Close())
			replaceFile(t, filepath.Join(filepath.Dir(other.path), searchFile), path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSearchFixture(t, 1, Options{Synchronous: "normal", flushAt: 10})
			list, found := numbered(1, 500)
			s.send(list...)
			s.erase(list[6])
			found = slices.DeleteFunc(found, func(id im.ID) bool { return id == 7 })
			s.reopen(func() { put(t, filepath.Join(filepath.Dir(s.path), searchFile)) })
			s.checkFinds("word", found...)
			if n := len(s.indexedEntries()); n != len(found) {
				t.Errorf("the file has %d messages, want %d", n, len(found))
			}
			s.checkFinds("word", found...)
		})
	}
}

// TestOlderIndexOrDatabase checks that an older copy of the index or the database
// is detected and repaired.
func TestOlderIndexOrDatabase(t *testing.T) {
	for _, name := range []string{searchFile, "imapi.db"} {
		t.Run(name, func(t *testing.T) {
			s := newSearchFixture(t, 1, Options{Synchronous: "normal", flushAt: 10})
			path := filepath.Join(filepath.Dir(s.path), name)
			list, found := numbered(1, 100)
			s.send(list...)
			s.reopen(func() { replaceFile(t, path, path+".copy") })
			more, all := numbered(101, 200)
			s.send(more...)
			if name == searchFile {
				s.erase(list[6])
				found = slices.DeleteFunc(all, func(id im.ID) bool { return id == 7 })
				_, old := numbered(1, 100)
				found = append(found, slices.DeleteFunc(old, func(id im.ID) bool { return id == 7 })...)
			}
			s.reopen(func() { replaceFile(t, path+".copy", path) })
			s.checkFinds("word", found...)
			if n := len(s.indexedEntries()); n != len(found) {
				t.Errorf("the file has %d messages, want %d", n, len(found))
			}
			s.checkFinds("word", found...)
		})
	}
}

// TestIndexCannotBeWritten checks that messages are stored, erased and found while the
// index's file cannot be opened, that the state reports it, and that the file is created
// once possible.
func TestIndexCannotBeWritten(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal", flushAt: 10})
	path := filepath.Join(filepath.Dir(s.path), searchFile)
	s.reopen(func() {
		must(t, os.Remove(path))
		must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700))
	})
	list, found := numbered(1, 100)
	s.send(list...)
	s.erase(list[99])
	found = found[1:]
	s.checkFinds("word", found...)
	if state := s.SearchState(); !state.Failing || state.Failures == 0 {
		t.Errorf("the state of the index is %+v", state)
	}
	must(t, os.RemoveAll(path))
	if n := len(s.indexedEntries()); n != len(found) {
		t.Errorf("the file has %d messages, want %d", n, len(found))
	}
	if state := s.SearchState(); state.Failing {
		t.Errorf("the state of the index is %+v", state)
	}
	s.checkFinds("word", found...)
}

// TestReindex rebuilds the index while messages are sent, erased and searched, and checks
// the reported progress.
func TestReindex(t *testing.T) {
	s := newSearchFixture(t, 1, Options{Synchronous: "normal", flushAt: 100})
	n := testsize.Pick[im.ID](10_000, 2500)
	list, found := numbered(1, n)
	for part := range slices.Chunk(list, 1000) {
		s.send(part...)
	}
	var steps []int64
	var all int64
	done := make(chan error)
	go func() {
		done <- s.Reindex(t.Context(), func(done, total int64) {
			if all = total; total < int64(n)-20 || total > int64(n)+20 {
				t.Errorf("total = %d, want about %d", total, n)
			}
			steps = append(steps, done)
		})
	}()
	for i := range im.ID(20) {
		s.send(text(1, n+1+i, "word"))
		s.erase(list[i*100])
		found = slices.DeleteFunc(slices.Insert(found, 0, n+1+i), func(id im.ID) bool { return id == i*100+1 })
		s.checkFinds("word", found...)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 || steps[len(steps)-1] != all || !slices.IsSorted(steps) {
		t.Errorf("progress = %v", steps)
	}
	s.checkFinds("word", found...)
	s.reopen(func() {})
	if n := len(s.indexedEntries()); n != len(found) {
		t.Errorf("the file has %d messages, want %d", n, len(found))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replaceFile replaces a file by a copy of another one.
func replaceFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o600))
}
