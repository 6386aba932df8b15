package sqlite

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
)

// through returns how far the file's index goes.
func (t *talk) through() (id int64) {
	t.Helper()
	t.write(func(*tx) error { return nil }) // comes after the one that goes to the file
	err := t.View(t.Context(), func(r im.Reader) (err error) {
		id, err = r.(*reader).indexedThrough()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (t *talk) finds(words string, want ...im.ID) {
	t.Helper()
	got := ids(t.search(im.SearchQuery{Words: words, Conversations: []im.ID{1}, Limit: 100}))
	if !slices.Equal(got, want) {
		t.Errorf("%q: found %v, not %v", words, got, want)
	}
}

func numbered(from, to im.ID) (list []im.Message, found []im.ID) {
	for id := from; id <= to; id++ {
		list = append(list, text(1, id, "word"))
		found = append(found, id)
	}
	return list, newest(found)
}

// TestRecent: messages are found from when they are stored, whether they are in
// the file's index or not, before and after it is opened again.
func TestRecent(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal", recent: 700})
	list, found := numbered(1, 2000)
	for part := range slices.Chunk(list, 90) {
		s.say(part...)
		s.finds("word", found[len(found)-int(part[len(part)-1].ID):]...)
	}
	through := s.through()
	if through < 2000-700 || through >= 2000 {
		t.Errorf("the file's index goes through %d", through)
	}
	s.erase(list[5])
	s.erase(list[1999])
	found = slices.DeleteFunc(found, func(id im.ID) bool { return id == 6 || id == 2000 })
	s.finds("word", found...)
	if index := s.index(); len(index) != int(through)-1 || index[6] != 0 {
		t.Errorf("it has %d messages", len(index))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Store = openAt(t, s.path, Options{Synchronous: "normal", recent: 700})
	s.finds("word", found...)
	more, _ := numbered(2001, 3000)
	s.say(more...)
	if got := s.through(); got <= through {
		t.Errorf("the file's index still goes through %d", got)
	}
}

// TestRecentErased: what is erased before it is in the file's index never gets
// there.
func TestRecentErased(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal", recent: 10})
	list, _ := numbered(1, 10)
	s.say(list...)
	for _, m := range list[:9] {
		s.erase(m)
	}
	more, found := numbered(11, 12)
	s.say(more...)
	if through, index := s.through(), s.index(); len(index) != 3 || through != 12 {
		t.Errorf("the index has %v", index)
	}
	s.finds("word", append(found, 10)...)
}

// TestRecentOutOfOrder: also messages whose ids are older than what is there.
func TestRecentOutOfOrder(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal", recent: 3})
	s.say(text(1, 100, "word"), text(1, 50, "word"), text(1, 70, "word"))
	s.finds("word", 100, 70, 50)
	s.say(text(1, 200, "word")) // all of them go to the file
	s.say(text(1, 60, "word"), text(1, 300, "word"), text(1, 250, "word"))
	s.finds("word", 300, 250, 200, 100, 70, 60, 50)
	s.erase(text(1, 60, "word"))
	s.finds("word", 300, 250, 200, 100, 70, 50)
	if index := s.index(); len(index) != 4 {
		t.Errorf("the index has %v", index)
	}
}

// TestRecentCannotBeWritten: while the file's index takes nothing, messages are
// stored and found all the same, and written once it does.
func TestRecentCannotBeWritten(t *testing.T) {
	broken := true
	path := filepath.Join(t.TempDir(), "imapi.db")
	s := &talk{TB: t, Store: openAt(t, path, Options{
		Synchronous: "normal", recent: 10,
		fault: func(_ *session, query string) error {
			if broken && query == insertEntries {
				return errors.New("broken")
			}
			return nil
		},
	})}
	s.write(func(tx *tx) error {
		return tx.CreateConversation(im.Conversation{ID: 1, Kind: im.Group, History: im.HistoryAll})
	})
	list, found := numbered(1, 30)
	s.say(list...)
	s.finds("word", found...)
	if through := s.through(); through != 0 {
		t.Errorf("the index goes through %d", through)
	}
	s.write(func(*tx) error { broken = false; return nil })
	more, _ := numbered(31, 31+recentBatch)
	_, found = numbered(1, 31+recentBatch)
	s.say(more...)
	if through := s.through(); through == 0 {
		t.Error("the index was not written")
	}
	s.finds("word", found...)
}

// TestRecentWithoutWords: what has no words is not read at every opening.
func TestRecentWithoutWords(t *testing.T) {
	s := newTalk(t, 1, Options{Synchronous: "normal"})
	for id := im.ID(1); id <= 5; id++ {
		m := text(1, id, "nothing to be found")
		m.Type = im.Custom
		s.say(m)
	}
	s.say(text(1, 6, "word"))
	if through := s.through(); through != 0 {
		t.Errorf("the index goes through %d", through)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Store = openAt(t, s.path, Options{Synchronous: "normal"})
	if through := s.through(); through != 5 {
		t.Errorf("after opening the index goes through %d", through)
	}
	s.finds("word", 6)
}
