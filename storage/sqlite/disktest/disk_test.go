package disktest_test

import (
	"database/sql"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imapi/imapi/storage/sqlite/disktest"
)

func open(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "a.db")+"?_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestPowerCuts checks that SQLite loses no committed transaction at any power cut. It also checks
// that without syncs it does, which shows that the simulated disk loses writes.
func TestPowerCuts(t *testing.T) {
	for _, synchronous := range []string{"FULL", "OFF"} {
		dir := t.TempDir()
		disk := disktest.New(t, dir)
		db := open(t, dir)
		db.SetMaxOpenConns(1)
		exec := func(query string, args ...any) {
			t.Helper()
			if _, err := db.Exec(query, args...); err != nil {
				t.Fatal(err)
			}
		}
		exec("PRAGMA synchronous = " + synchronous)
		exec("PRAGMA wal_autocheckpoint = 20")
		exec("CREATE TABLE t (n INTEGER, filler BLOB)")
		const rows = 200
		for n := range rows {
			exec("INSERT INTO t VALUES (?, randomblob(500))", n)
			disk.Mark(n)
		}
		random := rand.New(rand.NewPCG(1, 1))
		replay := disk.Replay()
		lost := 0
		for n := 0; n < replay.Len(); n += 1 + random.IntN(replay.Len()/50) {
			replay.To(n)
			if len(replay.Marks()) == 0 {
				continue
			}
			image := t.TempDir()
			if err := replay.Cut(image, disktest.Loss(random.IntN(3)), random); err != nil {
				t.Fatal(err)
			}
			var got int
			after := open(t, image)
			if err := after.QueryRow("SELECT count(*) FROM t").Scan(&got); err != nil || got < len(replay.Marks()) {
				lost++
			}
			_ = after.Close()
		}
		if (lost == 0) != (synchronous == "FULL") {
			t.Errorf("synchronous = %s: %d power cuts lost committed rows", synchronous, lost)
		}
	}
}

// TestFailures checks that SQLite receives the errors of the disk.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	disk := disktest.New(t, dir)
	db := open(t, dir)
	if _, err := db.Exec("CREATE TABLE t (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	for err, message := range map[error]string{
		syscall.ENOSPC: "database or disk is full", syscall.EIO: "disk I/O error",
	} {
		disk.Fail(func(disktest.Op) error { return err })
		if _, err := db.Exec("INSERT INTO t VALUES (1)"); err == nil || !strings.HasPrefix(err.Error(), message) {
			t.Errorf("%v, want %s", err, message)
		}
		disk.Fail(nil)
		if _, err := db.Exec("INSERT INTO t VALUES (1)"); err != nil {
			t.Error(err)
		}
	}
}
