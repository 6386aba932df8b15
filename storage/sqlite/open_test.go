package sqlite

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/imapi/imapi/im"
)

func TestOpenMakesPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?#%c", "data")
	s := openAt(t, filepath.Join(dir, "imapi.db"), Options{})
	if err := s.Write(t.Context(), putBlock(1)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 8 { // database and index with two more files each, keys and lock
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestOpenLocksTheDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	s := openAt(t, path, Options{})
	_, err := Open(t.Context(), filepath.Join(filepath.Dir(path), "another.db"), withKeys(filepath.Join(filepath.Dir(path), "another.db"), Options{}))
	if err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Fatalf("second Open = %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, path, Options{})
}

// createFile creates an empty database file if there is none.
func createFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// otherNames are ways to reach a database file by another path.
var otherNames = map[string]func(path string) (string, error){
	"symlinked directory": func(path string) (string, error) {
		link := filepath.Join(filepath.Dir(filepath.Dir(path)), "link")
		return filepath.Join(link, "imapi.db"), os.Symlink("data", link)
	},
	"symlinked file": func(path string) (string, error) {
		return linkElsewhere(path, func(to string) error { return os.Symlink(path, to) })
	},
	"link to a symlink": func(path string) (string, error) {
		return linkElsewhere(path, func(to string) error {
			return errors.Join(os.Symlink("../data/imapi.db", to+".hop"), os.Symlink("imapi.db.hop", to))
		})
	},
	"hard link": func(path string) (string, error) {
		return linkElsewhere(path, func(to string) error { return os.Link(path, to) })
	},
	"hard link in the same directory": func(path string) (string, error) {
		to := filepath.Join(filepath.Dir(path), "second.db")
		return to, os.Link(path, to)
	},
	"same path": func(path string) (string, error) { return path, nil },
}

func linkElsewhere(path string, link func(to string) error) (string, error) {
	dir := filepath.Join(filepath.Dir(filepath.Dir(path)), "elsewhere")
	to := filepath.Join(dir, "imapi.db")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return to, link(to)
}

// TestOpenLocksTheFileByAnyName checks that a database can only be opened once, under any
// of its names.
func TestOpenLocksTheFileByAnyName(t *testing.T) {
	for name, link := range otherNames {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data", "imapi.db")
			s := openAt(t, path, Options{})
			if err := s.Write(t.Context(), putBlock(1)); err != nil {
				t.Fatal(err)
			}
			other, err := link(path)
			if err != nil {
				t.Fatal(err)
			}
			if second, err := Open(t.Context(), other, withKeys(other, Options{})); !errors.Is(err, ErrInUse) {
				if err == nil {
					_ = second.Close()
				}
				t.Fatalf("second Open = %v, want ErrInUse", err)
			}
			if err := s.Write(t.Context(), putBlock(2)); err != nil {
				t.Errorf("write after the second Open: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, other, Options{}) // no longer locked
			err = s.View(t.Context(), func(r im.Reader) error {
				blocked, err := r.Blocked("alice", "2")
				if !blocked {
					t.Error("the block is lost")
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := Open(t.Context(), path, withKeys(path, Options{})); !errors.Is(err, ErrInUse) {
				t.Errorf("open by its first name: %v, want ErrInUse", err)
			}
		})
	}
}

// TestOpenThroughALinkToNothing checks that a dangling link is followed: the database and
// its log are created at its target.
func TestOpenThroughALinkToNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "imapi.db")
	if err := os.Symlink(filepath.Join("disk", "x.db"), link); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, link, Options{})
	if err := s.Write(t.Context(), putBlock(1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x.db", "x.db-wal", lockFile} {
		if _, err := os.Stat(filepath.Join(dir, "disk", name)); err != nil {
			t.Error(err)
		}
	}
	cycle := filepath.Join(dir, "circle.db")
	if err := os.Symlink("circle.db", cycle); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), cycle, withKeys(cycle, Options{})); err == nil || !strings.Contains(err.Error(), "symbolic links") {
		t.Errorf("open a cycle of links: %v", err)
	}
}

// TestOneName checks the refusal of hard links on systems where the file lock would
// conflict with SQLite's.
func TestOneName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := oneName(file); err != nil {
		t.Error(err)
	}
	if err := os.Link(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	if err := oneName(file); err == nil || !strings.Contains(err.Error(), "hard link") {
		t.Errorf("oneName of a file with two links: %v", err)
	}
}

func TestOpenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	s := openAt(t, path, Options{})
	first := s.Instance()
	if err := s.Write(t.Context(), putBlock(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, Options{Synchronous: "NORMAL", Readers: 1})
	if got := s.Instance(); got.Log != first.Log || string(got.TicketKey) != string(first.TicketKey) {
		t.Error("reopening changed the instance")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the file is readable by other users")
	}
	err := s.View(t.Context(), func(r im.Reader) error {
		blocked, err := r.Blocked("alice", "1")
		if !blocked {
			t.Error("the block is lost")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	other := openNew(t, Options{}).Instance()
	if other.Log == first.Log || string(other.TicketKey) == string(first.TicketKey) {
		t.Error("two stores have the same instance")
	}
}

// TestOpenEarlierSchema checks that data of the first schema are kept and can be used.
func TestOpenEarlierSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	s := openAt(t, path, Options{})
	c := im.Conversation{ID: 7, Kind: im.Space, Name: "a space", FirstSeq: 1}
	if err := s.Write(t.Context(), func(tx im.Tx) error { return tx.CreateConversation(c) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	runScript(t, path, "DROP TABLE creations; PRAGMA user_version = 1;")
	if version, newest, err := Versions(path); err != nil || version != 1 || newest != 2 {
		t.Fatalf("version %d of %d: %v", version, newest, err)
	}
	s = openAt(t, path, Options{})
	want := im.Creation{Creator: "alice", ClientID: "c", Conversation: c.ID}
	err := s.Write(t.Context(), func(tx im.Tx) error {
		if got, err := tx.Conversation(c.ID); err != nil || got.Name != c.Name {
			t.Errorf("the space is %+v: %v", got, err)
		}
		if err := tx.PutCreation(want); err != nil {
			return err
		}
		got, err := tx.Creation("alice", "c")
		if got != want {
			t.Errorf("the creation is %+v", got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// runScript runs statements on a database that is not open.
func runScript(t *testing.T, path, script string) {
	t.Helper()
	if err := createFile(path); err != nil {
		t.Fatal(err)
	}
	s, err := openSession(path, Options{Synchronous: "FULL"}, setup)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.conn.Exec(script, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"a newer schema":      {"PRAGMA user_version = 999", "newer"},
		"another application": {"PRAGMA application_id = 1", "not an imapi database"},
		"unsealed content":    {"PRAGMA application_id = 0x696d6170", "export it with that version, and import"},
		"a previous schema":   {"PRAGMA application_id = 0x696d7069", "export it with that version, and import"},
		"no log id":           {"DELETE FROM meta WHERE key = 'log_id'", "log_id is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "imapi.db")
			if err := openAt(t, path, Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			runScript(t, path, test.script)
			for range 2 { // a failed Open must release the lock
				_, err := Open(t.Context(), path, withKeys(path, Options{}))
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	path := filepath.Join(t.TempDir(), "imapi.db")
	runScript(t, path, "CREATE TABLE foreign_table (x)")
	if _, err := Open(t.Context(), path, withKeys(path, Options{})); err == nil || !strings.Contains(err.Error(), "not an imapi database") {
		t.Errorf("open a foreign database: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 999)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, withKeys(path, Options{})); err == nil {
		t.Error("opened a file that is not a database")
	}
	if _, err := Open(t.Context(), path, withKeys(path, Options{Synchronous: "off"})); err == nil {
		t.Error("synchronous = off was accepted")
	}
}

// TestSchemaChangesWithItsID checks that the application id changes with the tables of the
// database, because a program with other tables must refuse it. Comments and white space may
// change.
func TestSchemaChangesWithItsID(t *testing.T) {
	const id, want = 0x696d7034, "f9759871ef79a62441162bfd4375ed178c511a3eada09e2f61d909f63ed596bd"
	steps, err := loadMigrations(migrations)
	if err != nil {
		t.Fatal(err)
	}
	comments := regexp.MustCompile("--[^\n]*")
	words := strings.Fields(comments.ReplaceAllString(steps[0].script, ""))
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(words, " "))))
	if applicationID != id || digest != want {
		t.Errorf("the initial schema has the digest %s and the id %#x: before the first release, change the id with the schema, "+
			"add the previous one to formerIDs, and update both here", digest, applicationID)
	}
}

// TestMigrations checks that each migration is applied completely or not at all, in order.
func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	if err := openAt(t, path, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	known, err := loadMigrations(migrations)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, m := range known {
		files["migrations/"+m.name] = &fstest.MapFile{Data: []byte(m.script)}
	}
	next := func(ahead int, name string) string { return fmt.Sprintf("%04d_%s.sql", len(known)+ahead, name) }
	version := func(ahead, tables int) string {
		return fmt.Sprintf("version %d, %d extra tables", len(known)+ahead, tables)
	}
	s, err := openSession(path, Options{Synchronous: "FULL"}, setup)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	state := func() string {
		var version, tables int
		for query, dest := range map[string]*int{
			"PRAGMA user_version": &version,
			"SELECT count(*) FROM sqlite_schema WHERE name LIKE 'extra%'": &tables,
		} {
			s.reset()
			if _, err := s.row(query, nil, dest); err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprintf("version %d, %d extra tables", version, tables)
	}
	for _, step := range []struct {
		does, name, script string
		fails              bool
		want               string
	}{
		{"nothing is new", "", "", false, version(0, 0)},
		{"a broken script", next(1, "broken"), "CREATE TABLE extra1 (x); SELECT nonsense;", true, version(0, 0)},
		{"rows without a parent", next(1, "orphan"), "CREATE TABLE extra1 (x); PRAGMA defer_foreign_keys = ON; INSERT INTO members VALUES (1, 1, 1, 1, 2, NULL);", true, version(0, 0)},
		{"the next", next(1, "good"), "CREATE TABLE extra1 (x);", false, version(1, 1)},
		{"the one after it", next(2, "good"), "CREATE TABLE extra2 (x);", false, version(2, 2)},
		{"one after a gap", next(4, "gap"), "CREATE TABLE extra3 (x);", true, version(2, 2)},
	} {
		if step.name != "" {
			files["migrations/"+step.name] = &fstest.MapFile{Data: []byte(step.script)}
		}
		s.reset()
		if err := migrate(s, files); (err != nil) != step.fails {
			t.Errorf("%s: %v", step.does, err)
		}
		if step.fails {
			delete(files, "migrations/"+step.name)
		}
		if got := state(); got != step.want {
			t.Errorf("%s: %s, want %s", step.does, got, step.want)
		}
	}
}

// TestPragmas checks the settings of all connections, including those opened after a
// failure.
func TestPragmas(t *testing.T) {
	s := openNew(t, Options{Readers: 1})
	want := map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "secure_delete": "1",
		"temp_store": "2", "cache_spill": "0", "busy_timeout": "5000",
	}
	check := func(session *session) error {
		for name, value := range want {
			var got string
			query := "SELECT CAST(" + name + " AS TEXT) FROM pragma_" + name
			if name == "busy_timeout" {
				query = "SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout"
			}
			if _, err := session.row(query, nil, &got); err != nil {
				return err
			}
			if got != value {
				t.Errorf("%s = %s, want %s", name, got, value)
			}
		}
		return nil
	}
	for range 2 {
		if err := s.Write(t.Context(), func(w im.Tx) error { return check(w.(*tx).session) }); err != nil {
			t.Fatal(err)
		}
		err := s.View(t.Context(), func(r im.Reader) error {
			session := r.(*reader).session
			if _, err := session.conn.Exec("DELETE FROM users", nil); err == nil {
				t.Error("a read connection can write")
			}
			return check(session)
		})
		if err != nil {
			t.Fatal(err)
		}
		one := <-s.readers
		if err := one.close(); err != nil {
			t.Fatal(err)
		}
		s.readers <- nil
	}
}

// TestViewEnds checks that a read that takes too long, or whose caller has disconnected, is ended
// with its transaction, and that the connection can be used again.
func TestViewEnds(t *testing.T) {
	s := openNew(t, Options{Readers: 1, ReadLimit: 20 * time.Millisecond})
	const forever = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
	endless := func(r im.Reader) error {
		var n int
		_, err := r.(*reader).session.row(forever, nil, &n)
		return err
	}
	err := s.View(t.Context(), endless)
	if e, ok := im.AsError(err); !ok || e.Kind != im.Unavailable || !errors.Is(err, errSlowRead) {
		t.Errorf("endless read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	patient := openNew(t, Options{Readers: 1, ReadLimit: time.Hour}) // so that the limit does not end the read first
	err = patient.View(ctx, func(r im.Reader) error {
		cancel()
		return endless(r)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("read with a canceled context: %v", err)
	}
	// A snapshot also ends while nothing is read from it. If the machine stands still, it ends before
	// that.
	for idle := false; !idle; {
		err = s.View(t.Context(), func(r im.Reader) error {
			session := r.(*reader).session
			if _, err := r.LogBounds(); err != nil {
				return err
			}
			idle = true
			<-session.ctx.Done()
			for session.inTransaction() { // another goroutine rolls it back
				runtime.Gosched()
			}
			_, err := r.LogBounds()
			return err
		})
		if !errors.Is(err, errSlowRead) {
			t.Fatalf("idle read: %v", err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		_ = s.View(t.Context(), func(im.Reader) error { panic("for a test") })
	}()
	// The machine may stand still, so the next read has no limit.
	err = s.View(im.AtStart(t.Context()), func(r im.Reader) error { _, err := r.LogBounds(); return err })
	if err != nil {
		t.Errorf("next read: %v", err)
	}
}

// TestAcknowledgedAfterCrash checks that acknowledged writes survive a kill, including
// those that are only in the write-ahead log.
func TestAcknowledgedAfterCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapi.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashHelper$")
	cmd.Env = append(os.Environ(), "IMAPI_TEST_CRASH="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for lines := bufio.NewScanner(out); acknowledged < 50 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "done") {
			acknowledged++
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the error is the kill
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("the crash left no log: %v", err)
	}
	s := openAt(t, path, Options{})
	err = s.View(t.Context(), func(r im.Reader) error {
		for i := range acknowledged {
			blocked, err := r.Blocked("alice", im.UserID(fmt.Sprint(i)))
			if err != nil || !blocked {
				return fmt.Errorf("%d is lost: %w", i, err)
			}
		}
		return nil
	})
	if err != nil || acknowledged < 50 {
		t.Error(err, acknowledged)
	}
}

// TestCrashHelper is the process that is killed.
func TestCrashHelper(t *testing.T) {
	path := os.Getenv("IMAPI_TEST_CRASH")
	if path == "" {
		return
	}
	s := openAt(t, path, Options{})
	for i := 0; ; i++ {
		if err := s.Write(t.Context(), putBlock(i)); err != nil {
			t.Fatal(err)
		}
		fmt.Println("done", i)
	}
}
