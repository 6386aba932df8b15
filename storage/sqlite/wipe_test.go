package sqlite

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/fstest"
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

// TestNotesAfterUpgrade: what tombstones said before they had notes.
func TestNotesAfterUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	if err := createFile(path); err != nil {
		t.Fatal(err)
	}
	before := fstest.MapFS{}
	for _, name := range []string{"migrations/0001_initial.sql", "migrations/0002_taken_back.sql"} {
		script, err := migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = &fstest.MapFile{Data: script}
	}
	session, err := openSession(path, Options{Synchronous: "NORMAL"}, setup)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate(session, before); err != nil {
		t.Fatal(err)
	}
	_, err = session.conn.ExecContext(t.Context(), `
		INSERT INTO users (id, name) VALUES (1, 'alice');
		INSERT INTO conversations (id, kind, name, history, created_at, updated_at) VALUES (7, 2, '', 2, 0, 0);
		INSERT INTO contents (id, data) VALUES (1, zeroblob(30)), (2, CAST('{"type":"text","body":{"text":"stays"}}' AS BLOB)), (3, zeroblob(40));
		INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device, type, state, receipt, created_at, content_id,
			erased_at, wiped_at, erased_postscript, erased_extension)
		VALUES (11, 7, 1, 1, '', 1, 2, 0, 0, NULL, 5, 5, 'one', NULL), (12, 7, 2, 1, '', 1, 1, 0, 0, 2, NULL, NULL, NULL, NULL),
			(13, 7, 3, 1, '', 1, 2, 0, 0, NULL, 5, 5, 'both', '{"a":1e3}'), (14, 7, 4, 1, '', 1, 2, 0, 0, NULL, 5, 5, NULL, '"x"'),
			(15, 7, 5, 1, '', 1, 2, 0, 0, NULL, 5, 5, NULL, NULL)`)
	if err := session.close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, Options{})
	err = s.View(t.Context(), func(r im.Reader) error {
		for id, want := range map[im.ID][2]string{11: {"one"}, 13: {"both", `{"a":1e3}`}, 14: {"", `"x"`}, 15: {}} {
			m, err := r.Message(id)
			if err != nil {
				return err
			}
			if got := [2]string{m.Erased.Postscript, string(m.Erased.Extension)}; got != want {
				t.Errorf("%d says %v", id, got)
			}
		}
		m, err := r.Message(12)
		if err == nil && m.Content == nil {
			t.Error("what was not erased is gone")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := countedWiped(t, s); n != 2 {
		t.Errorf("%d are counted as wiped", n)
	}
}
