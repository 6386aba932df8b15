package sqlite

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/search"
)

// TestErasedLeavesTheIndex: of messages that were erased, oldest first, newest
// first and at random, among others that stay and more that come, the index has
// no entry and no file a word. FTS5 does keep some entries' bytes in its tables,
// by accident and few: they are hashes for that reason.
func TestErasedLeavesTheIndex(t *testing.T) {
	for _, test := range []struct {
		name   string
		secure bool
	}{{"with secure-delete", true}, {"without", false}} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := &talk{TB: t, Store: openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal", recent: 1})}
			makePlace(t, s.Store)
			if !test.secure {
				s.write(func(tx *tx) error {
					_, err := tx.session.exec("INSERT INTO search (search, rank) VALUES ('secure-delete', 0)")
					return err
				})
			}
			erased, kept := s.eraseAmongOthers(3000)
			checkpointed(t, s.Store)

			index := s.index()
			words, gone := newTraces(), map[string]bool{}
			for _, m := range erased {
				if index[m.ID] != 0 {
					t.Fatalf("%d entries are left of %v", index[m.ID], m.ID)
				}
				words.add(marker(m))
				gone[s.longest(m)] = true
			}
			if found := words.find(t, dir); len(found) > 0 {
				t.Errorf("%d words are left, such as %s", len(found), found[0])
			}
			there := map[string]bool{}
			for _, m := range kept {
				if index[m.ID] == 0 {
					t.Fatalf("%v is not in the index", m.ID)
				}
				there[s.longest(m)] = true
			}
			left, seen := occurrences(t, dir, gone), occurrences(t, dir, there)
			t.Logf("%d of %d entries of erased words, %d of %d of the others", left, len(gone), seen, len(there))
			if seen < len(there)*6/10 {
				t.Error("the search does not see what is there")
			}
			if test.secure && left > len(gone)/300 {
				t.Error("secure-delete leaves more than it did")
			}
			if !test.secure && left < len(gone)/5 {
				t.Error("without secure-delete entries should be left")
			}
		})
	}
}

// marker is the last word of a message, which it has alone.
func marker(m im.Message) string {
	words := m.Words()
	return words[strings.LastIndexByte(words, ' ')+1:]
}

// longest is the entry of a message that it has alone.
func (t *talk) longest(m im.Message) (entry string) {
	t.Helper()
	err := t.View(context.Background(), func(r im.Reader) error {
		h, err := r.(*reader).session.hasher()
		if err != nil {
			return err
		}
		common := h.Document(marking, 0, 0)
		word := marker(m)
		for _, e := range h.Document(word[strings.Index(word, marking):], 0, 0) {
			if !slices.Contains(common, e) {
				entry = strings.TrimSpace(search.Text([]search.Entry{e}))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// eraseAmongOthers sends messages and erases half of them, a few in each
// transaction and with others sent in between, so that the index is merged all
// the while.
func (t *talk) eraseAmongOthers(n int) (erased, kept []im.Message) {
	t.Helper()
	random := rand.New(rand.NewPCG(51, 52))
	says := newSpeech(53)
	id := firstID
	send := func(n int) (list []im.Message) {
		for range n {
			id++
			list = append(list, text(place, id, says.text()+newMarker(random)))
		}
		t.say(list...)
		return list
	}
	var all []im.Message
	for range n / 20 {
		all = append(all, send(20)...)
	}
	orders := make([][]im.Message, 3)
	for i, m := range all {
		if i%2 == 0 {
			kept = append(kept, m)
			continue
		}
		third := i * 3 / len(all)
		orders[third] = append(orders[third], m)
	}
	slices.Reverse(orders[1])
	random.Shuffle(len(orders[2]), func(i, j int) { orders[2][i], orders[2][j] = orders[2][j], orders[2][i] })
	for _, m := range slices.Concat(orders...) {
		t.erase(m)
		erased = append(erased, m)
		if random.IntN(10) == 0 {
			kept = append(kept, send(1+random.IntN(20))...)
		}
	}
	return erased, kept
}

// occurrences counts the entries that are in files below a directory.
func occurrences(tb testing.TB, dir string, entries map[string]bool) int {
	tb.Helper()
	found := map[string]bool{}
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		// Beside each other in a segment, the second of two entries is without
		// the beginning that both have: mostly up to two of its eight characters.
		for entry := range entries {
			if bytes.Contains(data, []byte(entry[2:])) {
				found[entry] = true
			}
		}
	}
	return len(found)
}

// checkpointed moves the write-ahead log into the database, for it has pages as they were.
func checkpointed(tb testing.TB, s *Store) {
	tb.Helper()
	session, err := openSession(s.path, s.options, setup)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = session.close() }()
	for busy, began := 1, time.Now(); busy != 0; {
		var frames, moved int
		if _, err := session.row("PRAGMA wal_checkpoint(TRUNCATE)", nil, &busy, &frames, &moved); err != nil || time.Since(began) > patience {
			tb.Fatal("the log is not moved", err)
		}
	}
}
