package sqlite

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// remove removes messages with all that was said in them and in their place, as
// retention does.
func remove(tx *tx, ids ...im.ID) error {
	var contents []int64
	for _, id := range ids {
		const columns = `SELECT content_id FROM messages WHERE id = ?1 AND content_id IS NOT NULL
			UNION ALL SELECT note_id FROM messages WHERE id = ?1 AND note_id IS NOT NULL`
		err := tx.session.query(columns, []any{int64(id)}, func(rows *sql.Rows) (bool, error) {
			var content int64
			err := rows.Scan(&content)
			contents = append(contents, content)
			return true, err
		})
		if err != nil {
			return err
		}
		if err := tx.must("DELETE FROM messages WHERE id = ?", int64(id)); err != nil {
			return err
		}
	}
	return tx.wipeAll(contents)
}

// TestNotesAreWiped: what was left in the place of a message is there with its
// tombstone, as it was given, and goes with it.
func TestNotesAreWiped(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal"})
	makePlace(t, s)
	random := rand.New(rand.NewPCG(41, 42))
	list := secrets(random, 40)
	sendAll(t, s, list)
	notes := make([]im.Erasure, len(list))
	traces := newTraces()
	ids := make([]im.ID, 0, len(list))
	for i, m := range list {
		postscript, extension := newMarker(random), newMarker(random)
		traces.add(postscript)
		traces.add(extension)
		traces.add(m.marker)
		ids = append(ids, m.id)
		e := im.Erasure{State: im.Revoked, At: fromMillis(1), By: "alice"}
		if i%3 != 0 {
			e.Postscript = "naïve \"☃\" <" + postscript
		}
		if i%3 != 1 {
			e.Extension = fmt.Appendf(nil, "{\"a<b&\u2028\":[1e3,null,%q]}", extension)
		}
		notes[i] = e
		err := s.Write(t.Context(), func(w im.Tx) error {
			_, err := w.Erase(m.id, e, fromMillis(2))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		m.erased.Store(true)
	}
	held(t, s, list)
	err := s.View(t.Context(), func(r im.Reader) error {
		for i, m := range list {
			got, err := r.Message(m.id)
			if err != nil {
				return err
			}
			if got.Erased.Postscript != notes[i].Postscript || string(got.Erased.Extension) != string(notes[i].Extension) {
				t.Errorf("%d: %+v", i, got.Erased)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found := traces.find(t, dir); len(found) < len(list) {
		t.Errorf("the notes are nowhere: %d", len(found))
	}
	if err := s.Write(t.Context(), func(w im.Tx) error { return remove(w.(*tx), ids...) }); err != nil {
		t.Fatal(err)
	}
	traces.goneWithin(t, dir, time.Now())
	if n, want := countedWiped(t, s), 2*len(list); n != want {
		t.Errorf("%d are counted as wiped, not %d", n, want)
	}
	err = s.Write(t.Context(), func(w im.Tx) error { return w.(*tx).wipeAll([]int64{1 << 40}) })
	if err == nil {
		t.Error("wiped what is not there")
	}
}

// countedWiped is how many rows were counted as wiped.
func countedWiped(t *testing.T, s *Store) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(r im.Reader) error {
		_, err := r.(*reader).session.row("SELECT sum(n) FROM wiped", nil, &n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
