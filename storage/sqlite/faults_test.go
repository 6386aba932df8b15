package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// driverErrors are the errors of SQLite that may come at any time.
var driverErrors = []sqlite3.Error{
	{Code: sqlite3.ErrBusy},
	{Code: sqlite3.ErrFull},
	{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrWrite},
}

// rolledBack is how SQLite may fail: the whole transaction is gone.
func rolledBack(s *session, err error) error {
	if s.inTransaction() {
		if _, failed := s.conn.ExecContext(context.Background(), "ROLLBACK"); failed != nil {
			return failed
		}
	}
	return err
}

// TestFaultAtEveryStatement breaks every statement of a batch, in every way. In a short run
// the ways share the statements: each breaks every sixth.
func TestFaultAtEveryStatement(t *testing.T) {
	for i, driverError := range driverErrors {
		for j, gone := range []bool{false, true} {
			first, step := testsize.Pick(0, 2*i+j), testsize.Pick(1, 2*len(driverErrors))
			t.Run(fmt.Sprintf("%v/rolledBack=%v", driverError, gone), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				for at := first; ; at += step {
					jobs := b.allJobs()
					b.batch(jobs, at, "", func(s *session, _ string) error {
						if gone {
							return rolledBack(s, driverError)
						}
						return driverError
					})
					b.hold(jobs)
					if hit, statements := b.faults.hit(); !hit {
						if statements < 250 {
							t.Fatalf("the batch had but %d statements", statements)
						}
						b.faults.arm(0, "", nil) // nor is the end of the store to meet it
						break                    // past the last statement
					}
				}
				b.checkPublished()
			})
		}
	}
}

// TestFaultAtCommit: nothing of a batch is there when its COMMIT failed, and
// everybody is told that it is not.
func TestFaultAtCommit(t *testing.T) {
	b := newBench(t)
	for _, driverError := range driverErrors {
		for _, gone := range []bool{false, true} {
			jobs := []*job{b.job(honest), b.job(refuses), b.job(readsOnly), b.job(honest)}
			b.batch(jobs, 0, "COMMIT", func(s *session, _ string) error {
				if gone {
					return rolledBack(s, driverError)
				}
				return driverError
			})
			want := "storage_unavailable"
			if driverError.Code == sqlite3.ErrFull {
				want = "storage_full"
			}
			for _, j := range jobs {
				if e, ok := im.AsError(j.err); !ok || e.Code != want {
					t.Fatalf("answered %v, want %s", j.err, want)
				}
			}
			b.hold(jobs)
			next := []*job{b.job(honest)}
			b.batch(next, 0, "", nil)
			b.hold(next)
			if next[0].err != nil {
				t.Fatal(next[0].err)
			}
		}
	}
	b.checkPublished()
}

// TestUnknownOutcome: a COMMIT that was done and said to have failed. The
// callers are told to try again, the listener that it has missed something.
func TestUnknownOutcome(t *testing.T) {
	b := newBench(t)
	jobs := []*job{b.job(honest), b.job(honest)}
	b.batch(jobs, 0, "COMMIT", func(s *session, _ string) error {
		if _, err := s.conn.ExecContext(context.Background(), "COMMIT"); err != nil {
			t.Error(err)
		}
		return sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync}
	})
	for _, j := range jobs {
		if e, ok := im.AsError(j.err); !ok || e.Kind != im.Unavailable || !b.kept(j) {
			t.Fatal(j.err)
		}
	}
	want := []im.Commit{{Due: fromMillis(1), Head: 4, Gap: true}}
	if diff := cmp.Diff(want, b.heard(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("received (-want +got):\n%s", diff)
	}
	next := []*job{b.job(honest)}
	b.batch(next, 0, "", nil)
	b.hold(next)
	heard := b.heard()
	if last := heard[len(heard)-1]; last.Gap || last.Head != 6 || last.Events[0].Position != 5 {
		t.Fatalf("told %+v", last)
	}
}

// TestFaultAtRollback: a connection that cannot even roll back is given up.
func TestFaultAtRollback(t *testing.T) {
	b := newBench(t)
	for _, manner := range []manner{failsLate, explodes} {
		jobs := []*job{b.job(honest), b.job(manner), b.job(honest)}
		b.batch(jobs, 0, "ROLLBACK", func(*session, string) error {
			return sqlite3.Error{Code: sqlite3.ErrIoErr}
		})
		b.hold(jobs)
		if jobs[0].err != nil || jobs[2].err != nil {
			t.Fatal(jobs[0].err, jobs[2].err)
		}
	}
	b.checkPublished()
}

// TestFaultAtReopening: without a connection nobody is told that all is well,
// until there is one again.
func TestFaultAtReopening(t *testing.T) {
	b := newBench(t)
	dir := filepath.Dir(b.store.path)
	away := dir + " away"
	jobs := []*job{b.job(honest)}
	b.batch(jobs, 0, "COMMIT", func(*session, string) error {
		if err := os.Rename(dir, away); err != nil {
			t.Error(err)
		}
		return sqlite3.Error{Code: sqlite3.ErrIoErr}
	})
	b.hold(jobs)
	if err := b.store.Ready(t.Context()); err == nil {
		t.Fatal("ready without a database")
	}
	lost := b.job(honest)
	lost.err = b.store.Write(t.Context(), lost.fn)
	if e, ok := im.AsError(lost.err); !ok || e.Kind != im.Unavailable {
		t.Fatal(lost.err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := b.job(honest)
	next.err = b.store.Write(t.Context(), next.fn)
	b.hold([]*job{lost, next})
	if next.err != nil {
		t.Fatal(next.err)
	}
	b.checkPublished()
}

// onWriter runs a statement on the writer's connection, within a transaction.
func (b *bench) onWriter(fn func(s *session) error) {
	b.Helper()
	err := b.store.Write(context.Background(), func(t im.Tx) error { return fn(t.(*tx).session) })
	if err != nil {
		b.Fatal(err)
	}
}

// TestReallyFull: SQLite itself finds no room for a page.
func TestReallyFull(t *testing.T) {
	b := newBench(t)
	limit := func(query string) func(s *session) error {
		return func(s *session) error {
			var pages int
			if _, err := s.row("PRAGMA page_count", nil, &pages); err != nil {
				return err
			}
			_, err := s.row(fmt.Sprintf(query, pages+3), nil, &pages)
			return err
		}
	}
	b.onWriter(limit("PRAGMA max_page_count = %d"))
	var jobs []*job
	for range 300 {
		jobs = append(jobs, b.job(honest), b.job(swallows))
	}
	b.batch(jobs[:250], 0, "", nil)
	b.batch(jobs[250:500], 0, "", nil)
	b.batch(jobs[500:], 0, "", nil)
	b.hold(jobs)
	fits := 0
	for _, j := range jobs {
		if e, ok := im.AsError(j.err); ok && (e.Kind != im.Full || e.Code != "storage_full") {
			t.Fatal(j.err)
		}
		if j.err == nil {
			fits++
		}
	}
	if fits == 0 || fits == len(jobs) {
		t.Fatalf("%d of %d found room", fits, len(jobs))
	}
	b.onWriter(limit("PRAGMA max_page_count = 1%d00000"))
	next := b.allJobs()
	b.batch(next, 0, "", nil)
	b.hold(next)
	if next[0].err != nil {
		t.Fatal(next[0].err)
	}
	b.checkPublished()
}

// TestReallyBusy: something else holds the write lock.
func TestReallyBusy(t *testing.T) {
	b := newBench(t)
	b.onWriter(func(s *session) error {
		var ms int
		_, err := s.row("PRAGMA busy_timeout = 1", nil, &ms)
		return err
	})
	other, err := openSession(b.store.path, b.store.options, setup)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.control("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	j := b.job(honest)
	j.err = b.store.Write(t.Context(), j.fn)
	if e, ok := im.AsError(j.err); !ok || e.Kind != im.Unavailable {
		t.Fatal(j.err)
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	next := b.allJobs()
	b.batch(next, 0, "", nil)
	b.hold(append(next, j))
	b.checkPublished()
}

// TestReallyNoCommit: SQLite itself turns a COMMIT into a ROLLBACK.
func TestReallyNoCommit(t *testing.T) {
	b := newBench(t)
	refuse := false
	b.onWriter(func(s *session) error {
		s.raw.RegisterCommitHook(func() int {
			if refuse {
				refuse = false
				return 1
			}
			return 0
		})
		return nil
	})
	jobs := []*job{b.job(honest), b.job(refuses), b.job(honest)}
	b.batch(jobs, 0, "BEGIN IMMEDIATE", func(*session, string) error {
		refuse = true
		return nil
	})
	b.hold(jobs)
	for _, j := range jobs {
		if e, ok := im.AsError(j.err); !ok || e.Kind != im.Unavailable {
			t.Fatal(j.err)
		}
	}
	next := b.allJobs()
	b.batch(next, 0, "", nil)
	b.hold(next)
	b.checkPublished()
}

// TestCutOffOfUnknownOutcome: a COMMIT of a cut-off that was done and said to have
// failed. No event tells of it; who verifies tokens is told of it all the same.
func TestCutOffOfUnknownOutcome(t *testing.T) {
	var fails atomic.Bool // others read meanwhile
	s := openAt(t, filepath.Join(t.TempDir(), "imapi.db"), Options{Logger: slog.New(slog.DiscardHandler), fault: func(s *session, query string) error {
		if query != "COMMIT" || !fails.CompareAndSwap(true, false) {
			return nil
		}
		if _, err := s.conn.ExecContext(context.Background(), "COMMIT"); err != nil {
			t.Error(err)
		}
		return sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync}
	}})
	var mu sync.Mutex
	published := map[im.UserID]bool{}
	s.OnCommit(func(c im.Commit) {
		mu.Lock()
		defer mu.Unlock()
		for _, cut := range c.Cuts {
			published[cut.User] = true
		}
	})
	write := func(user string) error {
		return s.Write(t.Context(), func(tx im.Tx) error {
			return tx.CutTokens(im.TokenCut{User: im.UserID(user), At: fromMillis(1)})
		})
	}
	if err := write("known"); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), func(im.Tx) error { fails.Store(true); return nil }); err == nil {
		t.Fatal("the fault did not come")
	}
	mu.Lock()
	clear(published)
	mu.Unlock()
	if err := s.Write(t.Context(), func(tx im.Tx) error {
		fails.Store(true)
		return tx.CutTokens(im.TokenCut{User: "in doubt", At: fromMillis(2)})
	}); err == nil {
		t.Fatal("the fault did not come")
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !published["in doubt"] || !published["known"] {
		t.Errorf("published cut-offs: %v", published)
	}
}

// TestReadsAtStart: what is read at the start is not ended for the time it takes.
func TestReadsAtStart(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "imapi.db"), Options{ReadLimit: 1}) // reads a little itself
	read := func(r im.Reader) error {
		_, err := r.LogBounds()
		return err
	}
	if err := s.View(t.Context(), read); !errors.Is(err, errSlowRead) {
		t.Errorf("a read: %v, want that it took too long", err)
	}
	if err := s.View(im.AtStart(t.Context()), read); err != nil {
		t.Errorf("a read at the start: %v", err)
	}
}
