package sqlite

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

func (t *talk) finds(words string, want ...im.ID) {
	t.Helper()
	got := ids(t.search(im.SearchQuery{Words: words, Conversations: []im.ID{1}, Limit: 100}))
	if !slices.Equal(got, want) {
		t.Errorf("%q: found %v, not %v", words, got, want)
	}
}

// again closes the store and opens it with the same options.
func (t *talk) again(between func()) {
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

// TestIndex: messages are found from when they are stored, whether they are in the index's
// file or not, before and after it is opened again; erased ones are not, and leave it.
func TestIndex(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal", flushAt: 700})
	list, found := numbered(1, 2000)
	for part := range slices.Chunk(list, 90) {
		s.say(part...)
		s.finds("word", found[len(found)-int(part[len(part)-1].ID):]...)
	}
	if n := len(s.index()); n < 2000-700 || n == 2000 {
		t.Errorf("%d messages are in the file", n)
	}
	s.erase(list[5])
	s.erase(list[1999])
	found = slices.DeleteFunc(found, func(id im.ID) bool { return id == 6 || id == 2000 })
	s.finds("word", found...)
	if index := s.index(); index[6] != 0 || index[2000] != 0 || index[5] == 0 {
		t.Error("erased messages are in the file")
	}
	s.again(func() {})
	if state := s.SearchState(); !state.Complete {
		t.Error("after it was closed well, the index is compared with the messages")
	}
	s.finds("word", found...)
	if index := s.index(); len(index) != 1998 {
		t.Errorf("%d messages are in the file", len(index))
	}
	more, _ := numbered(2001, 3000)
	s.say(more...)
	if got := s.index(); len(got) <= 1998 {
		t.Errorf("there are still %d", len(got))
	}
}

// TestIndexOutOfOrder: also messages whose ids are older than what is there, as an import
// brings them.
func TestIndexOutOfOrder(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal", flushAt: 3})
	s.say(text(1, 100, "word"), text(1, 50, "word"), text(1, 70, "word"))
	s.finds("word", 100, 70, 50)
	s.say(text(1, 200, "word"))
	s.say(text(1, 60, "word"), text(1, 300, "word"), text(1, 250, "word"))
	s.finds("word", 300, 250, 200, 100, 70, 60, 50)
	s.erase(text(1, 60, "word"))
	s.finds("word", 300, 250, 200, 100, 70, 50)
	if _, there := s.index()[60]; there {
		t.Error("what was erased is in the file")
	}
}

// TestIndexOfOtherData: whatever is in place of the index's file when the store is opened,
// all is found, and the file is whole in the end.
func TestIndexOfOtherData(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, path string){
		"nothing": func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"garbage": func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 10_000), 0o600)) },
		"torn":    func(t *testing.T, path string) { must(t, os.Truncate(path, 8192)) },
		"of another store": func(t *testing.T, path string) {
			other := newTalk(t, 1, Options{Synchronous: "normal"})
			other.say(text(1, 1, "word"), text(1, 2, "word"))
			must(t, other.Close())
			copyOver(t, filepath.Join(filepath.Dir(other.path), searchFile), path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTalk(t, 1, Options{Synchronous: "normal", flushAt: 10})
			list, found := numbered(1, 500)
			s.say(list...)
			s.erase(list[6])
			found = slices.DeleteFunc(found, func(id im.ID) bool { return id == 7 })
			s.again(func() { put(t, filepath.Join(filepath.Dir(s.path), searchFile)) })
			s.finds("word", found...)
			if n := len(s.index()); n != len(found) {
				t.Errorf("%d messages are in the file, not %d", n, len(found))
			}
			s.finds("word", found...)
		})
	}
}

// TestIndexAndDatabaseOfOtherTimes: an older copy of either is found out, and set right.
func TestIndexAndDatabaseOfOtherTimes(t *testing.T) {
	for _, name := range []string{searchFile, "imapi.db"} {
		t.Run(name, func(t *testing.T) {
			s := newTalk(t, 1, Options{Synchronous: "normal", flushAt: 10})
			path := filepath.Join(filepath.Dir(s.path), name)
			list, found := numbered(1, 100)
			s.say(list...)
			s.again(func() { copyOver(t, path, path+".copy") })
			more, all := numbered(101, 200)
			s.say(more...)
			if name == searchFile {
				s.erase(list[6])
				found = slices.DeleteFunc(all, func(id im.ID) bool { return id == 7 })
				_, old := numbered(1, 100)
				found = append(found, slices.DeleteFunc(old, func(id im.ID) bool { return id == 7 })...)
			}
			s.again(func() { copyOver(t, path+".copy", path) })
			s.finds("word", found...)
			if n := len(s.index()); n != len(found) {
				t.Errorf("%d messages are in the file, not %d", n, len(found))
			}
			s.finds("word", found...)
		})
	}
}

// TestIndexCannotBeWritten: while the index's file cannot be opened, messages are sent,
// erased and found all the same, and it says so. Once it can be, it is made.
func TestIndexCannotBeWritten(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal", flushAt: 10})
	path := filepath.Join(filepath.Dir(s.path), searchFile)
	s.again(func() {
		must(t, os.Remove(path))
		must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700))
	})
	list, found := numbered(1, 100)
	s.say(list...)
	s.erase(list[99])
	found = found[1:]
	s.finds("word", found...)
	if state := s.SearchState(); !state.Failing || state.Failures == 0 {
		t.Errorf("the index is %+v", state)
	}
	must(t, os.RemoveAll(path))
	if n := len(s.index()); n != len(found) {
		t.Errorf("%d messages are in the file, not %d", n, len(found))
	}
	if state := s.SearchState(); state.Failing {
		t.Errorf("the index is %+v", state)
	}
	s.finds("word", found...)
}

// TestReindex: the index is made anew while messages are sent, erased and found, and tells
// how far it is.
func TestReindex(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal", flushAt: 100})
	n := testsize.Pick[im.ID](10_000, 2500)
	list, found := numbered(1, n)
	for part := range slices.Chunk(list, 1000) {
		s.say(part...)
	}
	var steps []int64
	var all int64
	done := make(chan error)
	go func() {
		done <- s.Reindex(t.Context(), func(done, total int64) {
			if all = total; total < int64(n)-20 || total > int64(n)+20 {
				t.Errorf("%d in all", total)
			}
			steps = append(steps, done)
		})
	}()
	for i := range im.ID(20) {
		s.say(text(1, n+1+i, "word"))
		s.erase(list[i*100])
		found = slices.DeleteFunc(slices.Insert(found, 0, n+1+i), func(id im.ID) bool { return id == i*100+1 })
		s.finds("word", found...)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 || steps[len(steps)-1] != all || !slices.IsSorted(steps) {
		t.Errorf("the progress was %v", steps)
	}
	s.finds("word", found...)
	s.again(func() {})
	if n := len(s.index()); n != len(found) {
		t.Errorf("%d messages are in the file, not %d", n, len(found))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copyOver copies a file over another one.
func copyOver(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o600))
}
