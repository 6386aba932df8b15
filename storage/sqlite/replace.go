package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/im"
)

const (
	// restoreNew is the name of the new database until it is complete.
	restoreNew = ".imapi-restore-db"
	// replacedInfix is part of the new name of the replaced database.
	replacedInfix = ".replaced-"
)

// Replacing has the arguments of [Replace].
type Replacing struct {
	// Backup is the file that replaces the database.
	Backup string
	// Keys installs the keys of the store, or checks that they exist. It is called once the backup
	// is copied, before the old database and the files derived from it change.
	Keys func(store im.StoreID) error
	// Shred shreds keys of values that were erased in the replaced database but not
	// shredded before it was closed. Without it, nothing would shred them.
	Shred func(store im.StoreID, list []im.Shredding) error
	// Derived are files derived from the database. They are deleted.
	Derived []string
	// Progress is called with the number of bytes copied; it may be nil.
	Progress func(im.Progress)
	// Now is the clock; the default is time.Now.
	Now func() time.Time

	// Step is called before each step; only tests set it.
	Step func(string)
}

// Replace replaces the database at path, which must not be open, by a backup. The replaced database
// is kept under the returned name, which is "" if there was none. The new database is marked, so
// that [Open] reconciles it with the keys before it is read. After a crash at any point, path holds
// either the old database or the marked backup.
func Replace(ctx context.Context, path string, how Replacing) (replaced string, err error) {
	if path, err = Resolve(path); err != nil {
		return "", fmt.Errorf("find the database: %w", err)
	}
	if how.Step == nil {
		how.Step = func(string) {}
	}
	if how.Now == nil {
		how.Now = time.Now
	}
	// Check the backup first: a mistyped name must not create anything.
	if info, err := os.Stat(how.Backup); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: %w", how.Backup, errNoBackup)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("create the data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	existing, err := lockIfExists(path)
	if err != nil {
		return "", err
	}
	if existing != nil {
		defer func() { err = errors.Join(err, existing.Close()) }()
	}
	fresh := filepath.Join(dir, restoreNew)
	for _, left := range []string{fresh, fresh + "-journal"} {
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	how.Step("copy")
	defer func() {
		if err != nil {
			_ = os.Remove(fresh) // fails harmlessly after the rename
		}
	}()
	store, err := how.copy(ctx, fresh)
	if err != nil {
		return "", fmt.Errorf("%s: %w", how.Backup, err)
	}
	how.Step("keys")
	if err := how.Keys(store); err != nil {
		return "", err
	}
	how.Step("settle")
	if existing != nil {
		doomed, err := settleLog(path, store)
		if err == nil && len(doomed) > 0 {
			err = how.Shred(store, doomed)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
	}
	how.Step("derived")
	for _, name := range how.Derived {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	how.Step("keep")
	if existing != nil {
		replaced = path + replacedInfix + how.Now().UTC().Format("20060102T150405.000Z")
		if err := os.Link(path, replaced); err != nil {
			return "", fmt.Errorf("keep the replaced database: %w", err)
		}
	}
	how.Step("rename")
	if err := os.Rename(fresh, path); err != nil {
		return "", err
	}
	how.Step("sync")
	if err := syncDir(dir); err != nil {
		return "", err
	}
	how.Step("done")
	return replaced, nil
}

// lockIfExists is like lockDatabase, but returns nil if the file does not exist.
func lockIfExists(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := ownDatabase(file); err != nil {
		return nil, errors.Join(fmt.Errorf("the database %s %w", path, err), file.Close())
	}
	return file, nil
}

// copy makes a complete and synced copy of the backup, marked for reconciliation, and
// returns the id of its store.
func (how Replacing) copy(ctx context.Context, to string) (store im.StoreID, err error) {
	if _, err := os.Stat(how.Backup + "-wal"); err == nil {
		return store, errors.New("it has a write-ahead log: it was not made by imapi backup")
	}
	source, err := openBackup(how.Backup)
	if err != nil {
		return store, damaged(err)
	}
	store, err = source.identify()
	if err == nil {
		var size int64
		if _, err = source.row("PRAGMA page_size", nil, &size); err == nil {
			err = copyPages(ctx, source, to, func(done, total int) {
				if how.Progress != nil {
					how.Progress(im.Progress{Done: int64(done) * size, Total: int64(total) * size})
				}
			})
		}
	}
	if err := errors.Join(err, source.close()); err != nil {
		return store, damaged(err)
	}
	if _, err := markBackup(to, Options{}); err != nil {
		return store, damaged(err)
	}
	if err := checkWhole(to); err != nil {
		return store, damaged(err)
	}
	f, err := os.Open(to)
	if err != nil {
		return store, err
	}
	return store, errors.Join(f.Sync(), f.Close())
}

// damaged replaces SQLite's errors for a damaged file by errNoBackup.
func damaged(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrCorrupt) {
		return errNoBackup
	}
	return err
}

var errNoBackup = errors.New("not an imapi database, or damaged")

// openBackup opens a file that no process writes to. The file may be on read-only media.
func openBackup(path string) (*session, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return openSource(dataFile(path)+"?mode=ro&immutable=1", Options{}, copying)
}

// identify returns the id of the store in a file, if this program can read the file.
func (s *session) identify() (store im.StoreID, err error) {
	steps, err := loadMigrations(migrations)
	if err != nil {
		return store, err
	}
	version, err := s.schemaVersion(len(steps))
	if err != nil {
		return store, err
	}
	if version == 0 {
		return store, errNoBackup
	}
	var id []byte
	if _, err := s.row(selectMeta, []any{"store_id"}, &id); err != nil {
		return store, err
	}
	if len(id) != len(store) {
		return store, errNoBackup
	}
	return im.StoreID(id), nil
}

// checkWhole checks that a file is not damaged.
func checkWhole(path string) (err error) {
	session, err := openSession(path, Options{}, copying)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.close()) }()
	var first string
	if _, err := session.row("PRAGMA quick_check(1)", nil, &first); err != nil {
		return err
	}
	if first != "ok" {
		return errNoBackup
	}
	return nil
}

// selectUnpurgedSlots finds the keys of deleted conversations that are not purged.
const selectUnpurgedSlots = `SELECT m.slot, m.note_slot FROM conversations c
	CROSS JOIN messages m INDEXED BY messages_by_seq ON m.conversation_id = c.id
	WHERE c.deleted_at IS NOT NULL AND c.purged = 0`

// loadUnshredded returns the keys that a server starting on this database would shred:
// doomed ones, and those of deleted conversations that are not purged.
func (s *session) loadUnshredded() ([]im.Shredding, error) {
	list, err := s.loadDoomed()
	if err != nil {
		return nil, err
	}
	left := shreddings(list)
	err = s.query(selectUnpurgedSlots, nil, func(rows row) (bool, error) {
		var slots [2]sql.NullInt64
		err := rows.Scan(&slots[0], &slots[1])
		for _, slot := range slots {
			if slot.Valid {
				left = append(left, im.Shredding{Slot: im.Slot(slot.Int64), Code: im.ShredRemoved})
			}
		}
		return true, err
	})
	return left, err
}

// settleLog moves the write-ahead log of a database into it, because SQLite would apply a log that
// is left behind to the new database. The log of a damaged database is deleted. It returns the keys
// that remain to be shredded, if the database belongs to the store.
func settleLog(path string, store im.StoreID) (left []im.Shredding, err error) {
	err = func() error {
		session, err := openSession(path, Options{}, copying)
		if err != nil {
			return err
		}
		if is, failed := session.identify(); failed == nil && is == store {
			if left, err = session.loadUnshredded(); err != nil {
				return errors.Join(err, session.close())
			}
		}
		var busy, frames, moved int
		_, err = session.row("PRAGMA wal_checkpoint(TRUNCATE)", nil, &busy, &frames, &moved)
		if err == nil && busy != 0 {
			err = errors.New("the write-ahead log is in use")
		}
		return errors.Join(err, session.close())
	}()
	var e sqlite3.Error
	if err != nil && (!errors.As(err, &e) || e.Code != sqlite3.ErrNotADB && e.Code != sqlite3.ErrCorrupt) {
		return nil, err
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return left, syncDir(filepath.Dir(path))
}
