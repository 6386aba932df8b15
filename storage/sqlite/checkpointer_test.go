package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/testsize"
)

// smallLog has limits that tests reach quickly.
var smallLog = logLimits{step: 256 << 10, restart: 1 << 20, max: 4 << 20}

// fill writes about n bytes to the log, in transactions of several pages.
func fill(t testing.TB, s *Store, n int64) {
	t.Helper()
	name := strings.Repeat("x", 100)
	for wrote := int64(0); wrote < n; wrote += 64 << 10 {
		err := s.Write(context.Background(), func(tx im.Tx) error {
			for range 300 {
				if err := tx.PutBlock("alice", im.UserID(fmt.Sprint(filled.Add(1), name)), fromMillis(0)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

var filled atomic.Int64

// logSize returns the size of the log file.
func logSize(t testing.TB, s *Store) int64 {
	t.Helper()
	info, err := os.Stat(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestWriterNeverMovesLog checks that the writer's connection never runs a checkpoint, and that no
// other connection does below the limits.
func TestWriterNeverMovesLog(t *testing.T) {
	var queries sync.Map
	s := openNew(t, Options{Synchronous: "normal", log: logLimits{step: 1 << 40, restart: 1 << 40, max: 1 << 40}, logFault: func(_ *session, query string) error {
		queries.Store(query, true)
		return nil
	}})
	fill(t, s, 8<<20) // twice SQLite's default for a checkpoint
	await.Until(t, "the log was checked", func() bool {
		_, looked := queries.Load("PRAGMA wal_checkpoint(NOOP)")
		return looked
	})
	if size := logSize(t, s); size < 4<<20 {
		t.Errorf("the log has only %d bytes", size)
	}
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 1<<20 {
		t.Errorf("the database has %d bytes: a checkpoint was run", info.Size())
	}
	if _, moved := queries.Load("PRAGMA wal_checkpoint(RESTART)"); moved {
		t.Error("the writer was paused")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log exists after Close: %v", err)
	}
}

// TestLogBounded checks that the log stays bounded while writers never pause and there is
// always a read transaction that began earlier.
func TestLogBounded(t *testing.T) {
	for name, readers := range map[string]int{"no reads": 0, "busy reads": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var largest atomic.Int64
			s := openNew(t, Options{
				Synchronous: "normal", ReadLimit: 200 * time.Millisecond, Readers: 4, log: smallLog, Logger: slog.New(slog.DiscardHandler),
				ObserveLog: func(n int64) { largest.Store(max(n, largest.Load())) },
			})
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for range readers {
				wg.Go(func() {
					for ctx.Err() == nil { // each read ends at its limit while others overlap it
						_ = s.View(ctx, func(r im.Reader) error {
							if _, err := r.Blocks("alice", im.Page{Limit: 1}); err != nil {
								return err
							}
							<-time.After(100 * time.Millisecond)
							return nil
						})
					}
				})
			}
			// Write 20 times the maximum size of the log, 5 times in a short run.
			largestSize := int64(0)
			for range testsize.Pick(80, 20) {
				fill(t, s, smallLog.max/4)
				largestSize = max(largestSize, logSize(t, s))
			}
			stop()
			wg.Wait()
			// On a busy machine, much is written between two checks.
			if limit := 8 * smallLog.max; largestSize > limit {
				t.Errorf("the log had %d bytes", largestSize)
			}
			if largest.Load() == 0 {
				t.Error("ObserveLog was not called")
			}
			fill(t, s, 1)
			await.Until(t, "the log has restarted", func() bool {
				fill(t, s, 1)
				return logSize(t, s) <= smallLog.restart+smallLog.step
			})
		})
	}
}

// TestLogHeld checks that a read transaction that another process keeps open is logged and blocks
// no sender, and that the log is checkpointed once it ends.
func TestLogHeld(t *testing.T) {
	var warned atomic.Bool
	logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "write-ahead log grows") {
			warned.Store(true)
		}
		return len(p), nil
	}), nil))
	s := openNew(t, Options{Synchronous: "normal", ReadLimit: 10 * time.Millisecond, log: smallLog, Logger: logger})
	fill(t, s, 1)
	other, err := openSession(s.path, s.options, reading)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.control("BEGIN"); err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := other.row("SELECT count(*) FROM blocks", nil, &n); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 2*smallLog.max)
	await.Until(t, "a warning is logged", func() bool { fill(t, s, 1); return warned.Load() })
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the log is checkpointed", func() bool {
		fill(t, s, 1)
		state, err := stateOf(s)
		return err == nil && state.unmoved < smallLog.step+1<<20
	})
}

// TestLogFault checks that a failed checkpoint is retried on a new connection, and that no
// write fails.
func TestLogFault(t *testing.T) {
	var fails atomic.Bool
	var failed atomic.Int64
	s := openNew(t, Options{Synchronous: "normal", log: smallLog, Logger: slog.New(slog.DiscardHandler), logFault: func(_ *session, query string) error {
		if fails.Load() {
			failed.Add(1)
			return sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrWrite}
		}
		return nil
	}})
	fails.Store(true)
	fill(t, s, 2<<20)
	await.Until(t, "the checkpoint has failed twice", func() bool { return failed.Load() > 1 }) // retried without another write
	fails.Store(false)
	await.Until(t, "the log is checkpointed", func() bool {
		fill(t, s, 1)
		state, err := stateOf(s)
		return err == nil && state.unmoved < smallLog.step+1<<20
	})
}

// stateOf returns the state of the log, read over a separate connection.
func stateOf(s *Store) (logState, error) {
	session, err := openSession(s.path, s.options, moving)
	if err != nil {
		return logState{}, err
	}
	session.fault = nil
	state, err := session.moveLog("NOOP")
	return state, errors.Join(err, session.close())
}

// TestLogAfterCrash checks that writes that are only in the log at a crash are not lost.
func TestLogAfterCrash(t *testing.T) {
	s := openNew(t, Options{Synchronous: "normal", log: smallLog})
	fill(t, s, 3*smallLog.restart)
	if err := s.Write(t.Context(), func(tx im.Tx) error { return tx.PutBlock("alice", "zz last", fromMillis(0)) }); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		copyFile(t, filepath.Join(dir, "imapi.db"+suffix), s.path+suffix)
	}
	after := openAt(t, filepath.Join(dir, "imapi.db"), Options{Synchronous: "normal", log: smallLog})
	var blocked bool
	err := after.View(t.Context(), func(r im.Reader) (err error) {
		blocked, err = r.Blocked("alice", "zz last")
		return err
	})
	if err != nil || !blocked {
		t.Errorf("%v, %v", blocked, err)
	}
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
