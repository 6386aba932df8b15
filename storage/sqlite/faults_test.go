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

// driverErrors are SQLite errors that can occur at any time.
var driverErrors = []sqlite3.Error{
	{Code: sqlite3.ErrBusy},
	{Code: sqlite3.ErrFull},
	{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrWrite},
}

// afterError returns the part of a case's name that says whether SQLite rolls back.
var afterError = map[bool]string{false: ", transaction stays open", true: ", rolled back"}

// rolledBack returns the error after rolling back the transaction, as SQLite may do.
func rolledBack(s *session, err error) error {
	if s.inTransaction() {
		if _, failed := s.conn.Exec("ROLLBACK", nil); failed != nil {
			return failed
		}
	}
	return err
}

// TestFaultAtEveryStatement makes each statement of a batch fail in every way. In a short run the
// ways share the statements: each way tests every sixth.
func TestFaultAtEveryStatement(t *testing.T) {
	for i, driverError := range driverErrors {
		for j, rollback := range []bool{false, true} {
			first, step := testsize.Pick(0, 2*i+j), testsize.Pick(1, 2*len(driverErrors))
			t.Run(fmt.Sprint(driverError, afterError[rollback]), func(t *testing.T) {
				t.Parallel()
				b := newBatchFixture(t)
				for at := first; ; at += step {
					jobs := b.allJobs()
					b.batch(jobs, at, "", func(s *session, _ string) error {
						if rollback {
							return rolledBack(s, driverError)
						}
						return driverError
					})
					b.checkJobs(jobs)
					if hit, statements := b.faults.hit(); !hit {
						if statements < 250 {
							t.Fatalf("the batch had only %d statements", statements)
						}
						b.faults.arm(0, "", nil) // Close must not fail
						break                    // past the last statement
					}
				}
				b.checkPublished()
			})
		}
	}
}

// TestFaultAtCommit checks that after a failed COMMIT nothing is stored and every call
// returns an error.
func TestFaultAtCommit(t *testing.T) {
	b := newBatchFixture(t)
	for _, driverError := range driverErrors {
		for _, rollback := range []bool{false, true} {
			jobs := []*job{b.job(returnsErrors), b.job(refuses), b.job(readsOnly), b.job(returnsErrors)}
			b.batch(jobs, 0, "COMMIT", func(s *session, _ string) error {
				if rollback {
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
					t.Fatalf("Write = %v, want %s", j.err, want)
				}
			}
			b.checkJobs(jobs)
			next := []*job{b.job(returnsErrors)}
			b.batch(next, 0, "", nil)
			b.checkJobs(next)
			if next[0].err != nil {
				t.Fatal(next[0].err)
			}
		}
	}
	b.checkPublished()
}

// TestUnknownOutcome checks a COMMIT that is durable but reports an error: the calls return
// a retryable error, and a gap is published.
func TestUnknownOutcome(t *testing.T) {
	b := newBatchFixture(t)
	jobs := []*job{b.job(returnsErrors), b.job(returnsErrors)}
	b.batch(jobs, 0, "COMMIT", func(s *session, _ string) error {
		if _, err := s.conn.Exec("COMMIT", nil); err != nil {
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
	if diff := cmp.Diff(want, b.listenerCommits(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("published (-want +got):\n%s", diff)
	}
	next := []*job{b.job(returnsErrors)}
	b.batch(next, 0, "", nil)
	b.checkJobs(next)
	heard := b.listenerCommits()
	if last := heard[len(heard)-1]; last.Gap || last.Head != 6 || last.Events[0].Position != 5 {
		t.Fatalf("published %+v", last)
	}
}

// TestFaultAtRollback checks that a connection is replaced if its ROLLBACK fails.
func TestFaultAtRollback(t *testing.T) {
	b := newBatchFixture(t)
	for _, behaviour := range []behaviour{failsLate, panicsLate} {
		jobs := []*job{b.job(returnsErrors), b.job(behaviour), b.job(returnsErrors)}
		b.batch(jobs, 0, "ROLLBACK", func(*session, string) error {
			return sqlite3.Error{Code: sqlite3.ErrIoErr}
		})
		b.checkJobs(jobs)
		if jobs[0].err != nil || jobs[2].err != nil {
			t.Fatal(jobs[0].err, jobs[2].err)
		}
	}
	b.checkPublished()
}

// TestFaultAtReopening checks that the store reports errors while its connection cannot be
// reopened.
func TestFaultAtReopening(t *testing.T) {
	b := newBatchFixture(t)
	dir := filepath.Dir(b.store.path)
	away := dir + " away"
	jobs := []*job{b.job(returnsErrors)}
	b.batch(jobs, 0, "COMMIT", func(*session, string) error {
		if err := os.Rename(dir, away); err != nil {
			t.Error(err)
		}
		return sqlite3.Error{Code: sqlite3.ErrIoErr}
	})
	b.checkJobs(jobs)
	if err := b.store.Ready(t.Context()); err == nil {
		t.Fatal("ready without a database")
	}
	lost := b.job(returnsErrors)
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
	next := b.job(returnsErrors)
	next.err = b.store.Write(t.Context(), next.fn)
	b.checkJobs([]*job{lost, next})
	if next.err != nil {
		t.Fatal(next.err)
	}
	b.checkPublished()
}

// onWriter runs a function on the writer's connection, in a transaction.
func (b *batchFixture) onWriter(fn func(s *session) error) {
	b.Helper()
	err := b.store.Write(context.Background(), func(t im.Tx) error { return fn(t.(*tx).session) })
	if err != nil {
		b.Fatal(err)
	}
}

// TestFaultOfAFullDatabase makes SQLite itself run out of pages.
func TestFaultOfAFullDatabase(t *testing.T) {
	b := newBatchFixture(t)
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
		jobs = append(jobs, b.job(returnsErrors), b.job(ignoresErrors))
	}
	b.batch(jobs[:250], 0, "", nil)
	b.batch(jobs[250:500], 0, "", nil)
	b.batch(jobs[500:], 0, "", nil)
	b.checkJobs(jobs)
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
		t.Fatalf("%d of %d jobs were stored, want some but not all", fits, len(jobs))
	}
	b.onWriter(limit("PRAGMA max_page_count = 1%d00000"))
	next := b.allJobs()
	b.batch(next, 0, "", nil)
	b.checkJobs(next)
	if next[0].err != nil {
		t.Fatal(next[0].err)
	}
	b.checkPublished()
}

// TestFaultOfABusyDatabase holds the write lock with another connection.
func TestFaultOfABusyDatabase(t *testing.T) {
	b := newBatchFixture(t)
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
	j := b.job(returnsErrors)
	j.err = b.store.Write(t.Context(), j.fn)
	if e, ok := im.AsError(j.err); !ok || e.Kind != im.Unavailable {
		t.Fatal(j.err)
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	next := b.allJobs()
	b.batch(next, 0, "", nil)
	b.checkJobs(append(next, j))
	b.checkPublished()
}

// TestFaultOfAFailedCommit makes SQLite turn a COMMIT into a ROLLBACK.
func TestFaultOfAFailedCommit(t *testing.T) {
	b := newBatchFixture(t)
	refuse := false
	b.onWriter(func(s *session) error {
		s.conn.RegisterCommitHook(func() int {
			if refuse {
				refuse = false
				return 1
			}
			return 0
		})
		return nil
	})
	jobs := []*job{b.job(returnsErrors), b.job(refuses), b.job(returnsErrors)}
	b.batch(jobs, 0, "BEGIN IMMEDIATE", func(*session, string) error {
		refuse = true
		return nil
	})
	b.checkJobs(jobs)
	for _, j := range jobs {
		if e, ok := im.AsError(j.err); !ok || e.Kind != im.Unavailable {
			t.Fatal(j.err)
		}
	}
	next := b.allJobs()
	b.batch(next, 0, "", nil)
	b.checkJobs(next)
	b.checkPublished()
}

// TestCutOffOfUnknownOutcome checks that a cut-off is published if its COMMIT is durable
// but reports an error. It has no event, so a gap in the log would not reveal it.
func TestCutOffOfUnknownOutcome(t *testing.T) {
	var fails atomic.Bool // readers use it, too
	s := openAt(t, filepath.Join(t.TempDir(), "imapi.db"), Options{Logger: slog.New(slog.DiscardHandler), fault: func(s *session, query string) error {
		if query != "COMMIT" || !fails.CompareAndSwap(true, false) {
			return nil
		}
		if _, err := s.conn.Exec("COMMIT", nil); err != nil {
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
		t.Fatal("the COMMIT did not fail")
	}
	mu.Lock()
	clear(published)
	mu.Unlock()
	if err := s.Write(t.Context(), func(tx im.Tx) error {
		fails.Store(true)
		return tx.CutTokens(im.TokenCut{User: "in doubt", At: fromMillis(2)})
	}); err == nil {
		t.Fatal("the COMMIT did not fail")
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

// TestReadsAtStart checks that the read limit does not apply to reads during the start.
func TestReadsAtStart(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "imapi.db"), Options{ReadLimit: 1}) // Open also reads
	read := func(r im.Reader) error {
		_, err := r.LogBounds()
		return err
	}
	if err := s.View(t.Context(), read); !errors.Is(err, errSlowRead) {
		t.Errorf("View = %v, want errSlowRead", err)
	}
	if err := s.View(im.AtStart(t.Context()), read); err != nil {
		t.Errorf("View at the start: %v", err)
	}
}
