package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imapi/imapi/im"
)

// TestWhatDeletingLeaves: rows that are deleted one by one, beside others that
// stay, leave copies of those others, which erasing misses then; what reclaim
// does to the same rows leaves none.
func TestWhatDeletingLeaves(t *testing.T) {
	for name, deletes := range map[string]bool{"one by one": true, "in runs": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal"})
			traces := newTraces()
			all := insertMarked(t, s, traces, 4000)
			var gone, stay []int64
			for i, id := range all {
				if i%4 == 3 {
					stay = append(stay, id)
				} else {
					gone = append(gone, id)
				}
			}
			// Of each two, and then of each two that are left.
			slices.SortStableFunc(gone, func(a, b int64) int { return int(b%2 - a%2) })
			for part := range slices.Chunk(gone, 20) {
				inTx(t, s, func(t *tx) error {
					err := t.wipeAll(part)
					for _, id := range part {
						if deletes && err == nil {
							err = t.must("DELETE FROM contents WHERE id = ?", id)
						}
					}
					return err
				})
			}
			if !deletes {
				reclaimAll(t, s)
			}
			inTx(t, s, func(t *tx) error { return t.wipeAll(stay) })
			if !deletes {
				reclaimAll(t, s)
			}
			logEmpties(t, s)
			if found := traces.find(t, dir); (len(found) != 0) != deletes {
				t.Errorf("%d traces are left", len(found))
			}
		})
	}
}

// inTx runs fn in a transaction.
func inTx(t *testing.T, s *Store, fn func(t *tx) error) {
	t.Helper()
	if err := s.Write(t.Context(), func(w im.Tx) error { return fn(w.(*tx)) }); err != nil {
		t.Fatal(err)
	}
}

// insertMarked puts in contents of no message, of a size that many of them share
// a page, and returns their ids.
func insertMarked(t *testing.T, s *Store, traces *traces, n int) (ids []int64) {
	t.Helper()
	random := rand.New(rand.NewPCG(51, 1))
	inTx(t, s, func(t *tx) error {
		for range n {
			marker := newMarker(random)
			traces.add(marker)
			id, err := t.insertContent([]byte(strings.Repeat("x", 10+random.IntN(240)) + marker + "tail"))
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids
}

// TestFaultWhileReclaiming breaks every statement of giving room back, in every
// way: what was not wiped is there, the counts hold, and the next one does it.
func TestFaultWhileReclaiming(t *testing.T) {
	for _, driverError := range driverErrors {
		for _, gone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/rolledBack=%v", driverError, gone), func(t *testing.T) {
				t.Parallel()
				faults := &injector{}
				s := openNew(t, Options{Synchronous: "normal", fault: faults.hook})
				kept := 0
				var sum reclaimed
				for at := 0; ; at++ {
					ids := insertMarked(t, s, newTraces(), 1500)
					inTx(t, s, func(t *tx) error { return t.wipeAll(ids[:1480]) })
					kept += 20
					faults.arm(at, "", func(s *session, _ string) error {
						if gone {
							return rolledBack(s, driverError)
						}
						return driverError
					})
					done, err := tryReclaim(t, s)
					sum.rows, sum.pages = sum.rows+done.rows, sum.pages+done.pages
					hit, statements := faults.hit()
					if hit == (err == nil) {
						t.Fatalf("statement %d: hit %v, answered %v", at, hit, err)
					}
					faults.arm(-1, "", nil)
					sound(t, s)
					countsHold(t, s)
					var n int
					inTx(t, s, func(t *tx) error {
						_, err := t.session.row("SELECT count(*) FROM contents WHERE substr(data, 1, 1) = x'78'", nil, &n)
						return err
					})
					if n != kept {
						t.Fatalf("statement %d: %d rows are there, not %d", at, n, kept)
					}
					if !hit {
						if statements < 20 || sum.rows == 0 || sum.pages == 0 {
							t.Errorf("%d statements, %+v", statements, sum)
						}
						break
					}
				}
			})
		}
	}
}

// countsHold checks that of each 64 rows as many are counted as are wiped, or
// all are and nothing is to be looked for around them.
func countsHold(t *testing.T, s *Store) {
	t.Helper()
	const wrong = `WITH last (id) AS (SELECT seq FROM sqlite_sequence WHERE name = 'contents'),
		blocks (b) AS (SELECT 0 UNION ALL SELECT b + 1 FROM blocks, last WHERE (b + 1) * 64 < last.id),
		have (b, n) AS (SELECT b, min(64, last.id - b * 64) - (SELECT count(*) FROM contents
			WHERE id BETWEEN b * 64 + 1 AND b * 64 + 64 AND substr(data, 1, 1) <> x'00') FROM blocks, last)
		SELECT count(*) FROM have LEFT JOIN wiped ON wiped.block = b
		WHERE have.n <> coalesce(wiped.n, 0) AND NOT (have.n = 64 AND wiped.block IS NULL)`
	var n int
	err := s.View(t.Context(), func(r im.Reader) error {
		_, err := r.(*reader).session.row(wrong, nil, &n)
		return err
	})
	if err != nil || n != 0 {
		t.Fatalf("%d counts are wrong: %v", n, err)
	}
}

// TestReclaimPlans: what is done again and again seeks.
func TestReclaimPlans(t *testing.T) {
	r := &recorder{seen: map[string]bool{}}
	s := openNew(t, Options{Synchronous: "normal", fault: r.hook})
	ids := insertMarked(t, s, newTraces(), 2000)
	clear(r.seen)
	inTx(t, s, func(t *tx) error {
		if err := t.wipeOne(ids[0]); err != nil {
			return err
		}
		return t.wipeAll(ids[1:])
	})
	if err := s.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	session, err := openSession(s.path, Options{Synchronous: "normal"}, reading)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.close() }()
	for query := range r.seen {
		if strings.HasPrefix(query, "PRAGMA") {
			continue
		}
		for _, step := range explain(t, session, query) {
			bounded := hasAnyPrefix(step, mayScan) || step == "SCAN wiped USING INDEX wiped_whole" // its first
			if strings.HasPrefix(step, "SCAN") && !bounded || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\nin the plan of %s", step, query)
			}
		}
	}
}

// TestReclaimEnds: with its context, between two steps; the next one goes on, and
// then there is nothing to do.
func TestReclaimEnds(t *testing.T) {
	var mu sync.Mutex
	deletes, cancel := 0, func(error) {}
	s := openNew(t, Options{Synchronous: "normal", fault: func(_ *session, query string) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(query, "DELETE FROM contents") {
			deletes++
			cancel(errRule)
		}
		return nil
	}})
	ids := insertMarked(t, s, newTraces(), 5000)
	inTx(t, s, func(t *tx) error { return t.wipeAll(ids) })
	ctx, end := context.WithCancelCause(t.Context())
	cancel = end
	for range 2 {
		if err := s.Reclaim(ctx); err != errRule || deletes != 1 {
			t.Errorf("%d steps: %v", deletes, err)
		}
	}
	first := reclaimAll(t, s)
	if again := reclaimAll(t, s); first.rows == 0 || deletes < 3 || again != (reclaimed{}) {
		t.Errorf("%+v in %d steps, and then %+v", first, deletes, again)
	}
}

// TestReclaimKeepsMargins: beside a row that is not wiped, and at the table's
// end, stay as many wiped rows as cannot be on less than four pages.
func TestReclaimKeepsMargins(t *testing.T) {
	const size, margin = 100, 3*pageSize/100 + 1
	s := openNew(t, Options{Synchronous: "normal"})
	var ids []int64
	inTx(t, s, func(t *tx) error {
		for range 6400 {
			id, err := t.insertContent([]byte(strings.Repeat("x", size)))
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		// Two that stay, too near each other for anything between them to go.
		return t.wipeAll(slices.Concat(ids[:3000], ids[3001:3200], ids[3201:]))
	})
	if done := reclaimAll(t, s); done.rows != 6400-201-3*margin {
		t.Errorf("%+v", done)
	}
	var left []int64
	inTx(t, s, func(t *tx) error {
		left = nil
		return t.session.query("SELECT id FROM contents ORDER BY id", nil, func(rows *sql.Rows) (bool, error) {
			var id int64
			err := rows.Scan(&id)
			left = append(left, id)
			return true, err
		})
	})
	want := slices.Concat(ids[3000-margin:3201+margin], ids[6400-margin:])
	if !slices.Equal(left, want) {
		t.Errorf("%d are left, not %d: %v", len(left), len(want), left)
	}
}
