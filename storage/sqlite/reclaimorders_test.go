package sqlite

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// bursts gives each message a conversation, of which one after the other has a
// few in a row, and some more than others.
func bursts(random *rand.Rand, list []*secret, conversations int) map[int][]*secret {
	of := map[int][]*secret{}
	for len(list) > 0 {
		n := min(len(list), 1+random.IntN(12))
		c := random.IntN(conversations) * random.IntN(conversations) / conversations
		of[c] = append(of[c], list[:n]...)
		list = list[n:]
	}
	return of
}

// goings are the orders in which messages go, and which of them stay.
var goings = map[string]func(random *rand.Rand, list []*secret) (gone, stay []*secret){
	"oldest first": func(_ *rand.Rand, list []*secret) (gone, stay []*secret) {
		n := len(list) * 3 / 4
		return list[:n], list[n:]
	},
	"newest first": func(_ *rand.Rand, list []*secret) (gone, stay []*secret) {
		gone = slices.Clone(list[len(list)/4:])
		slices.Reverse(gone)
		return gone, list[:len(list)/4]
	},
	"at random": func(random *rand.Rand, list []*secret) (gone, stay []*secret) {
		list = slices.Clone(list)
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		n := len(list) * 97 / 100
		return list[:n], list[n:]
	},
	"by conversation": func(random *rand.Rand, list []*secret) (gone, stay []*secret) {
		of := bursts(random, list, 12)
		for c := range 12 {
			if c < 11 {
				gone = append(gone, of[c]...)
			} else {
				stay = of[c]
			}
		}
		return gone, stay
	},
	"in runs": func(random *rand.Rand, list []*secret) (gone, stay []*secret) {
		for len(list) > 0 {
			n := min(len(list), 100+random.IntN(500))
			gone = append(gone, list[:n]...)
			list = list[n:]
			n = min(len(list), 1+random.IntN(20))
			stay = append(stay, list[:n]...)
			list = list[n:]
		}
		return gone, stay
	},
}

// reclaimed tells what was given back.
type reclaimed struct{ rows, pages int }

// counts returns how many rows contents has, and how many pages the file.
func counts(tb testing.TB, s *Store) (rows, pages int) {
	tb.Helper()
	err := s.View(context.Background(), func(r im.Reader) error {
		session := r.(*reader).session
		if _, err := session.row("SELECT count(*) FROM contents", nil, &rows); err != nil {
			return err
		}
		_, err := session.row("PRAGMA page_count", nil, &pages)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return rows, pages
}

// tryReclaim gives back what can be, while nobody writes.
func tryReclaim(tb testing.TB, s *Store) (done reclaimed, err error) {
	tb.Helper()
	rows, pages := counts(tb, s)
	err = s.Reclaim(context.Background())
	rowsLeft, pagesLeft := counts(tb, s)
	return reclaimed{rows - rowsLeft, pages - pagesLeft}, err
}

func reclaimAll(tb testing.TB, s *Store) reclaimed {
	tb.Helper()
	done, err := tryReclaim(tb, s)
	if err != nil {
		tb.Fatal(err)
	}
	return done
}

// sound has SQLite check the file.
func sound(t *testing.T, s *Store) {
	t.Helper()
	var integrity string
	err := s.View(t.Context(), func(r im.Reader) error {
		_, err := r.(*reader).session.row("PRAGMA integrity_check", nil, &integrity)
		return err
	})
	if err != nil || integrity != "ok" {
		t.Fatal(err, integrity)
	}
}

func fileSize(t *testing.T, s *Store) int64 {
	t.Helper()
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// renumber gives messages ids from first on.
func renumber(list []*secret, first im.ID) []*secret {
	for i, m := range list {
		m.id = first + im.ID(i)
	}
	return list
}

// come has messages be sent and go, with what was erased given back in between,
// and those that stayed go later. It returns all of them.
func come(t *testing.T, s *Store, random *rand.Rand, traces *traces,
	going func(*rand.Rand, []*secret) (gone, stay []*secret),
) (all []*secret, done reclaimed, largest int64) {
	reclaim := func() {
		part := reclaimAll(t, s)
		done.rows, done.pages = done.rows+part.rows, done.pages+part.pages
	}
	next := firstID
	var stayed []*secret
	for round := range 4 {
		list := renumber(secrets(random, 1500), next)
		next += im.ID(len(list))
		all = append(all, list...)
		sendAll(t, s, list)
		logEmpties(t, s)
		largest = max(largest, fileSize(t, s))
		gone, stay := going(random, list)
		for part := range slices.Chunk(gone, 500) {
			eraseAll(t, s, part, traces)
			reclaim()
		}
		// What was moved, and stood beside what was deleted, goes in turn.
		random.Shuffle(len(stayed), func(i, j int) { stayed[i], stayed[j] = stayed[j], stayed[i] })
		n := len(stayed) / 2
		eraseAll(t, s, stayed[:n], traces)
		stayed = append(stayed[n:], stay...)
		if round%2 == 1 {
			reclaim()
		}
	}
	return all, done, largest
}

// logEmpties has the write-ahead log be emptied, which sets the file's size.
func logEmpties(t testing.TB, s *Store) {
	t.Helper()
	s.scrubber.request()
	logEmpty(t, s, time.Now())
}

// TestReclaimInAnyOrder: while room is given back, and the pages of what is left
// are moved, nothing of what was erased before or is erased after stays in any
// file, everything else is there, and the file becomes smaller.
func TestReclaimInAnyOrder(t *testing.T) {
	for name, going := range goings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(51, 52))
			dir := t.TempDir()
			s := openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal"})
			makePlace(t, s)
			traces := newTraces()
			all, done, largest := come(t, s, random, traces, going)
			traces.goneWithin(t, dir, time.Now())
			held(t, s, all)
			sound(t, s)
			logEmpties(t, s)
			size := fileSize(t, s)
			t.Logf("%d rows and %d pages; %d bytes of %d are left", done.rows, done.pages, size, largest)
			if done.rows < len(traces.forms[0].erase)/3 || done.pages == 0 || size > largest*3/4 {
				t.Errorf("of %d erased %d rows and %d pages were given back, %d bytes of %d are left",
					len(traces.forms[0].erase), done.rows, done.pages, size, largest)
			}
		})
	}
}
