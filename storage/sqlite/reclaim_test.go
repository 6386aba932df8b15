package sqlite

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// live has a town live through rounds of talking, taking back, retention,
// deletions and giving room back, while more is said.
func (w *town) live(rounds, each int) {
	for range 10 {
		w.found()
	}
	for round := range rounds {
		w.say(each)
		oldest := w.pick(func(m *spoken) bool { return m.in%5 == 1 })
		w.erase(oldest[:len(oldest)/2])
		some := w.pick(func(*spoken) bool { return w.random.IntN(12) == 0 })
		w.random.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		w.erase(some)
		for _, id := range w.places {
			if id%5 < 3 && !w.gone[id] {
				w.trim(id, int64(w.next)-int64(each/2))
			}
		}
		if round%2 == 1 {
			w.purge(w.places[round])
			w.found()
		}
		var group sync.WaitGroup
		group.Go(func() { // stopped in its midst, now and then
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if round%3 == 0 {
				timer := time.AfterFunc(20*time.Millisecond, cancel)
				defer timer.Stop()
			}
			if err := w.Reclaim(ctx); err != nil && ctx.Err() == nil {
				w.Error(err)
			}
		})
		w.say(each / 4)
		w.erase(w.pick(func(*spoken) bool { return w.random.IntN(20) == 0 }))
		group.Wait()
		w.hold()
	}
}

// TestReclaimedIsGone: rows are deleted, pages merged, moved and cut off, while
// more is said and taken back. Of what was taken back, before or after that, of
// what retention removed and of what stood in the place of removed messages
// nothing is left in any file, everything else is there, and the file gets small.
func TestReclaimedIsGone(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal"})
	w := newTown(t, s, 1)
	w.live(8, 900)
	deleted := w.number("SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'contents') - count(*) FROM contents")
	// What was moved about and stayed goes now, but every tenth.
	last := w.pick(func(m *spoken) bool { return m.id%10 != 0 })
	w.erase(last[:len(last)/2])
	w.must(s.Reclaim(t.Context()))
	w.erase(last[len(last)/2:])
	w.traces.goneWithin(t, dir, time.Now())
	w.must(s.Reclaim(t.Context()))
	w.hold()
	w.intact()
	t.Logf("%d said, %d of their rows deleted by then, %d bytes", len(w.said), deleted, w.size())
	if deleted < 2000 {
		t.Errorf("only %d rows were deleted", deleted)
	}

	// In the end all of it goes: a margin stays, and what has no content.
	for _, id := range w.places {
		if !w.gone[id] {
			w.purge(id)
		}
	}
	w.must(s.Write(t.Context(), func(tx im.Tx) error { // what they were known by goes, too
		_, err := tx.Forget(time.Now().Add(time.Hour), len(w.said)+len(w.places))
		return err
	}))
	w.must(s.Reclaim(t.Context()))
	w.traces.goneWithin(t, dir, time.Now())
	w.hold()
	w.intact()
	logEmpty(t, s, time.Now())
	if size := w.size(); size > 600<<10 {
		t.Errorf("the file still has %d bytes", size)
	}
	if n := w.number("PRAGMA freelist_count"); n != 0 {
		t.Errorf("%d pages are not used", n)
	}
}
