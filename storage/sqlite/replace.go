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
	// restoreNew is what is put in place, while it is not whole.
	restoreNew = ".imapi-restore-db"
	// replacedInfix is in the name that the database gets which was there before.
	replacedInfix = ".replaced-"
)

// Replacing says what [Replace] is to do.
type Replacing struct {
	// Backup is the file that is put in place.
	Backup string
	// Keys puts the keys of the store in place, or looks whether they are; before that
	// nothing has changed.
	Keys func(store im.StoreID) error
	// Shred shreds keys of what was erased in the database that was there and that it did
	// not come to before it ended. Nobody else knows of it.
	Shred func(store im.StoreID, list []im.Shredding) error
	// Derived are the files that are made from the database: they are removed.
	Derived []string
	// Progress is told how much of the backup was copied; it may be nil.
	Progress func(im.Progress)
	// Now is the clock; time.Now if nil.
	Now func() time.Time

	// Step is told what comes next, for tests that look at the files then. It may be nil.
	Step func(string)
}

// Replace puts a backup in place of the database at path, which nobody may have open, and
// which stays beside it under the name that is returned, "" if there was none. The data
// are not to be read before [Open] has brought them in line with the keys: that is noted
// in the file itself. So a crash at any moment leaves either the database as it was or the
// backup with that note.
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
	// Who has misspelt the backup is to find nothing made.
	if info, err := os.Stat(how.Backup); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: %w", how.Backup, errNoBackup)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := LockDir(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	there, err := ownIfThere(path)
	if err != nil {
		return "", err
	}
	if there != nil {
		defer func() { err = errors.Join(err, there.Close()) }()
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
			_ = os.Remove(fresh) // not there once it has its name
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
	if there != nil {
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
	if there != nil {
		replaced = path + replacedInfix + how.Now().UTC().Format("20060102T150405.000Z")
		if err := os.Link(path, replaced); err != nil {
			return "", fmt.Errorf("keep the database that was there: %w", err)
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

// ownIfThere is lockDatabase for a file that need not be there.
func ownIfThere(path string) (*os.File, error) {
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

// copy makes a copy of the backup, whole and on the disk, that says what is to be done
// with it, and returns whose it is.
func (how Replacing) copy(ctx context.Context, to string) (store im.StoreID, err error) {
	if _, err := os.Stat(how.Backup + "-wal"); err == nil {
		return store, errors.New("there is a write-ahead log beside it: this is no file that imapi backup has made")
	}
	source, err := openBackup(how.Backup)
	if err != nil {
		return store, readable(err)
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
		return store, readable(err)
	}
	if _, err := markBackup(to, Options{}); err != nil {
		return store, readable(err)
	}
	if err := checkWhole(to); err != nil {
		return store, readable(err)
	}
	f, err := os.Open(to)
	if err != nil {
		return store, err
	}
	return store, errors.Join(f.Sync(), f.Close())
}

// readable says in plain words that a file is damaged.
func readable(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrCorrupt) {
		return errNoBackup
	}
	return err
}

var errNoBackup = errors.New("this is no database of imapi, or it is damaged")

// openBackup opens a file that nobody writes to, also where nothing can be written.
func openBackup(path string) (*session, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return openSource(dataFile(path)+"?mode=ro&immutable=1", Options{}, copying)
}

// identify returns the id of the store that a file is of, if this program can read it.
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

// checkWhole looks whether a file is damaged.
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

// selectUnpurgedSlots are the keys of what is left of conversations that were deleted.
const selectUnpurgedSlots = `SELECT m.slot, m.note_slot FROM conversations c
	CROSS JOIN messages m INDEXED BY messages_by_seq ON m.conversation_id = c.id
	WHERE c.deleted_at IS NOT NULL AND c.purged = 0`

// loadUnshredded returns the keys that a server would shred which starts on this database:
// those that are noted, and those of conversations that were deleted and are not purged.
func (s *session) loadUnshredded() ([]im.Shredding, error) {
	list, err := s.loadDoomed()
	if err != nil {
		return nil, err
	}
	left := shreddings(list)
	err = s.query(selectUnpurgedSlots, nil, func(rows *sql.Rows) (bool, error) {
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

// settleLog moves what is in the write-ahead log of a database into it, so that it is
// one file: a log that is left beside another database would be taken for that one's. Of
// a database that is damaged the log is given up. It returns which keys are to be shredded
// for what was erased there, if it is of this store.
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
