package sqlite

import (
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imapi/imapi/im"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks a file as an imapi database: "imp4" in ASCII. Until the first release
// the initial schema itself may change. A change of it also needs another id, so that a file with
// the tables of a previous schema is refused at start. If it were opened, every request would fail.
const applicationID = 0x696d7034

// formerIDs are the ids of previous schemas: "imap" without sealed content, "impi" with
// hides stored as receipts, "imp2" without attachments and webhooks, and "imp3" with events for
// one user marked as indexed.
var formerIDs = []int{0x696d6170, 0x696d7069, 0x696d7032, 0x696d7033}

// migration is one step of the schema. There are only forward steps, and a released step
// never changes.
type migration struct {
	version int
	name    string
	script  string
}

// loadMigrations returns the migrations in order. Their files are named by version and
// purpose, such as 0001_initial.sql, and numbered from 1 without gaps.
func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	list := make([]migration, 0, len(names))
	for _, name := range names {
		base := strings.TrimPrefix(name, "migrations/")
		number, _, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != len(list)+1 {
			return nil, fmt.Errorf("migration %s is not number %d", base, len(list)+1)
		}
		script, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{version: version, name: base, script: expand(string(script))})
	}
	return list, nil
}

// migrate brings the schema to the newest version that this program knows, each step in its
// own transaction.
func migrate(s *session, files fs.FS) error {
	steps, err := loadMigrations(files)
	if err != nil {
		return err
	}
	version, err := s.schemaVersion(len(steps))
	if err != nil {
		return err
	}
	for _, step := range steps[version:] {
		if err := step.apply(s); err != nil {
			return fmt.Errorf("migration %s: %w", step.name, err)
		}
	}
	return s.verify()
}

// schemaVersion returns the number of migrations that were applied. It fails if this program cannot
// bring the file to the newest version.
func (s *session) schemaVersion(newest int) (version int, err error) {
	var application, tables int
	for query, dest := range map[string]*int{
		"PRAGMA user_version":                &version,
		"PRAGMA application_id":              &application,
		"SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if _, err := s.row(query, nil, dest); err != nil {
			return 0, err
		}
	}
	switch {
	case slices.Contains(formerIDs, application):
		return 0, errors.New("this database was made by a version before the first release, which this version cannot read: " +
			"export it with that version, and import the export into a new data directory")
	case tables > 0 && application != applicationID:
		return 0, errors.New("this is not an imapi database")
	case version > newest:
		return 0, fmt.Errorf("the schema has version %d, made by a newer imapi; this one supports up to version %d: "+
			"run the newer version, or restore an earlier backup", version, newest)
	}
	return version, nil
}

func (m migration) apply(s *session) error {
	err := s.control("BEGIN IMMEDIATE")
	if err != nil {
		return err
	}
	script := fmt.Sprintf("%s;\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;",
		m.script, applicationID, m.version)
	_, err = s.conn.Exec(script, nil)
	if err == nil && m.version == 1 {
		err = createInstance(s)
	}
	if err == nil {
		err = s.query("PRAGMA foreign_key_check", nil, func(row) (bool, error) {
			return false, errors.New("it leaves foreign keys that refer to missing rows")
		})
	}
	if err == nil {
		err = s.control("COMMIT")
	}
	if err != nil && s.inTransaction() {
		err = errors.Join(err, s.control("ROLLBACK"))
	}
	return err
}

// verify fails if the file's settings differ from those the engine was tested with.
func (s *session) verify() error {
	var mode string
	var secure int
	if _, err := s.row("PRAGMA journal_mode", nil, &mode); err != nil {
		return err
	}
	if _, err := s.row("PRAGMA secure_delete", nil, &secure); err != nil {
		return err
	}
	if mode != "wal" || secure != 1 {
		return fmt.Errorf("unexpected settings: journal_mode %s, secure_delete %d", mode, secure)
	}
	return nil
}

// createInstance stores the random values that identify new data.
func createInstance(s *session) error {
	random := make([]byte, 36+len(im.StoreID{}))
	_, _ = rand.Read(random) // crypto/rand never fails
	_, err := s.exec("INSERT INTO meta (key, value) VALUES ('log_id', ?), ('ticket_key', ?), ('store_id', ?), ('log_cut', 0), ('slots', 0), ('key_epoch', 0)",
		int64(binary.LittleEndian.Uint32(random)), random[4:36], random[36:])
	return err
}

// selectLastID finds the greatest id of a message. Those ids increase, whatever the clock shows. It
// ignores the ids of conversations, some of which are random.
const selectLastID = "SELECT coalesce(max(id), 0) FROM messages"

const selectMeta = "SELECT value FROM meta WHERE key = ?"

const (
	selectClockSeen = "SELECT value FROM meta WHERE key = 'clock_seen'"
	putClockSeen    = `INSERT INTO meta (key, value) VALUES ('clock_seen', ?)
		ON CONFLICT DO UPDATE SET value = excluded.value`
)

// PutClockSeen stores the time that the clock shows.
func (t *tx) PutClockSeen(at time.Time) error {
	_, err := t.session.exec(putClockSeen, at.UnixMilli())
	return err
}

func loadInstance(s *session) (im.Instance, error) {
	var i im.Instance
	var store []byte
	for key, dest := range map[string]any{"log_id": &i.Log, "ticket_key": &i.TicketKey, "store_id": &store} {
		found, err := s.row(selectMeta, []any{key}, dest)
		if err != nil {
			return i, err
		}
		if !found {
			return i, fmt.Errorf("%s is missing", key)
		}
	}
	if copy(i.Store[:], store) != len(i.Store) {
		return i, errors.New("store_id is malformed")
	}
	if _, err := s.row(selectLastID, nil, &i.LastID); err != nil {
		return i, err
	}
	var err error
	if i.PastLogs, err = s.loadPastLogs(); err != nil {
		return i, err
	}
	var seen sql.NullInt64
	_, err = s.row(selectClockSeen, nil, &seen)
	i.ClockSeen = optionalTime(seen)
	return i, err
}

// Versions returns the version of the schema in the header of a file, 0 if it is empty, and
// the newest version that this program supports. It only reads the header, without a lock. It fails
// if the file is not an imapi database.
func Versions(path string) (version, newest int, err error) {
	steps, err := loadMigrations(migrations)
	if err != nil {
		return 0, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, fmt.Errorf("read the database's header: %w", err)
	}
	defer func() { _ = f.Close() }()
	// See "The Database Header" of SQLite's file format.
	var header [100]byte
	const userVersion, application = 60, 68
	switch _, err := io.ReadFull(f, header[:]); {
	case errors.Is(err, io.EOF):
		return 0, len(steps), nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, 0, errors.New("this is not an imapi database")
	case err != nil:
		return 0, 0, fmt.Errorf("read the database's header: %w", err)
	}
	if binary.BigEndian.Uint32(header[application:]) != applicationID {
		return 0, 0, errors.New("this is not an imapi database, or it was made by a version before the first release")
	}
	return int(binary.BigEndian.Uint32(header[userVersion:])), len(steps), nil
}
