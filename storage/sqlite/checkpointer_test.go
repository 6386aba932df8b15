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
	"github.com/imapi/imapi/internal/testsize"
)

// smallLog are limits that tests reach soon.
var smallLog = logLimits{step: 256 << 10, restart: 1 << 20, max: 4 << 20}

// fill writes about n bytes to the log, in transactions of some pages each.
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

// logSize returns the size of the file of the write-ahead log.
func logSize(t testing.TB, s *Store) int64 {
	t.Helper()
	info, err := os.Stat(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// until waits for something that happens soon, on a busy machine too.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestWriterNeverMovesLog: however much is committed, the connection of the writer moves
// nothing of the log, and that of nobody else does before it is worth it.
func TestWriterNeverMovesLog(t *testing.T) {
	var asked sync.Map
	s := openNew(t, Options{Synchronous: "normal", log: logLimits{step: 1 << 40, restart: 1 << 40, max: 1 << 40}, logFault: func(_ *session, query string) error {
		asked.Store(query, true)
		return nil
	}})
	fill(t, s, 8<<20) // twice as many frames as SQLite would wait for by itself
	until(t, "nobody looked at the log", func() bool {
		_, looked := asked.Load("PRAGMA wal_checkpoint(NOOP)")
		return looked
	})
	if size := logSize(t, s); size < 4<<20 {
		t.Errorf("the log has but %d bytes", size)
	}
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 1<<20 {
		t.Errorf("the database has %d bytes: something was moved into it", info.Size())
	}
	if _, moved := asked.Load("PRAGMA wal_checkpoint(RESTART)"); moved {
		t.Error("the writer was paused")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close the log is there: %v", err)
	}
}

// TestLogBounded: the log does not grow without end while writers never rest and there is
// always a read that began long before.
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
					for ctx.Err() == nil { // each read ends by the limit, while others are in their midst
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
			// Twenty times as much as the log is to hold, five times in a short run.
			most := int64(0)
			for range testsize.Pick(80, 20) {
				fill(t, s, smallLog.max/4)
				most = max(most, logSize(t, s))
			}
			stop()
			wg.Wait()
			// On a machine that is busy much is written before somebody looks.
			if limit := 8 * smallLog.max; most > limit {
				t.Errorf("the log had %d bytes", most)
			}
			if largest.Load() == 0 {
				t.Error("nobody was told of the log")
			}
			fill(t, s, 1)
			until(t, "without reads the log does not begin anew", func() bool {
				fill(t, s, 1)
				return logSize(t, s) <= smallLog.restart+smallLog.step
			})
		})
	}
}

// TestLogHeld: a read of another process that does not end is warned of, and keeps
// neither senders nor, once it has ended, the log from going on.
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
	until(t, "nobody was warned", func() bool { fill(t, s, 1); return warned.Load() })
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the log is not moved", func() bool {
		fill(t, s, 1)
		state, err := stateOf(s)
		return err == nil && state.unmoved < smallLog.step+1<<20
	})
}

// TestLogFault: an error of moving the log is logged and tried again, on a connection of
// its own, and no write fails for it.
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
	until(t, "the fault did not come", func() bool { return failed.Load() > 1 }) // again, without another write
	fails.Store(false)
	until(t, "the log is not moved", func() bool {
		fill(t, s, 1)
		state, err := stateOf(s)
		return err == nil && state.unmoved < smallLog.step+1<<20
	})
}

// stateOf looks at the log by a connection of its own.
func stateOf(s *Store) (logState, error) {
	session, err := openSession(s.path, s.options, moving)
	if err != nil {
		return logState{}, err
	}
	session.fault = nil
	state, err := session.moveLog("NOOP")
	return state, errors.Join(err, session.close())
}

// TestLogAfterCrash: what a crash leaves in the log is there after it, and the file of the
// log is no larger than it may be while the server runs.
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
