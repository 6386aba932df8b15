package sqlite

import (
	"context"
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
	// backupPages is the number of pages that are copied at a time: 1 MiB.
	backupPages = 256
	// backupKeys is the name of the key file in a directory of backups.
	backupKeys = "keys"
	// backupNew is the prefix of unfinished files.
	backupNew = ".imapi-backup-"
)

// errBackupInUse reports that another backup into the same directory is running.
var errBackupInUse = errors.New("another backup into this directory is running")

var (
	_ im.Backuper  = (*Store)(nil)
	_ im.Reindexer = (*Store)(nil)
)

// Backup copies the data and the keys into a directory, which it creates if necessary; see
// [im.Backuper].
//
// The keys are copied after the data, so that they include every slot that the copied rows
// refer to, and after the keys of everything that is erased in the copy were shredded. The
// keys are renamed into place first: whatever a crash leaves, the keys are newer than all
// data beside them.
//
// The copy is made in steps from one snapshot. Without a snapshot, SQLite would restart the
// copy after each write. Pages written in the meantime stay in the write-ahead log until the copy
// is done.
func (s *Store) Backup(ctx context.Context, dir string, also func() error, progress func(im.Progress)) (_ im.Backup, err error) {
	keys, ok := s.sealer.keys.(im.KeysCopier)
	if !ok {
		return im.Backup{}, errors.New("this key store cannot be copied to a file")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return im.Backup{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return im.Backup{}, fmt.Errorf("create the backup directory: %w", err)
	}
	if err := s.checkBackupDir(dir); err != nil {
		return im.Backup{}, err
	}
	copied, err := Resolve(filepath.Join(dir, backupKeys))
	if err != nil {
		return im.Backup{}, err
	}
	unlock, err := lockBackups(dir)
	if err != nil {
		return im.Backup{}, err
	}
	defer unlock()
	if err := deleteUnfinished(dir); err != nil {
		return im.Backup{}, err
	}
	b := im.Backup{At: s.options.Now()}
	b.Path = filepath.Join(dir, im.BackupName(b.At))
	unfinished := filepath.Join(dir, backupNew+"db")
	defer func() {
		if err != nil {
			err = errors.Join(err, deleteUnfinished(dir))
		}
	}()
	if err := s.copyData(ctx, unfinished, progress); err != nil {
		return b, fmt.Errorf("copy the database: %w", err)
	}
	doomed, err := markBackup(unfinished, s.options)
	if err != nil {
		return b, fmt.Errorf("finish the copy of the database: %w", err)
	}
	if also != nil {
		if err := also(); err != nil {
			return b, err
		}
	}
	// What is erased in the copy must not be readable with the keys beside it. Call Shred even for
	// an empty list: it raises the epoch, which marks the data as a copy.
	if err := s.sealer.keys.Shred(doomed); err != nil {
		return b, err
	}
	if err := s.noteEpoch(); err != nil {
		return b, err
	}
	if err := keys.Copy(ctx, copied, nil); err != nil {
		return b, err
	}
	b.Bytes, err = publishBackup(unfinished, b.Path)
	return b, err
}

// checkBackupDir refuses the data directory. A server started without --keys would use the copy of
// the keys there as its own.
func (s *Store) checkBackupDir(dir string) error {
	a, err := os.Stat(dir)
	if err != nil {
		return err
	}
	b, err := os.Stat(filepath.Dir(s.path))
	if err == nil && os.SameFile(a, b) {
		err = errors.New("this is the data directory: use another directory for backups")
	}
	return err
}

// publishBackup syncs the copy and gives it its final name.
func publishBackup(unfinished, path string) (size int64, err error) {
	f, err := os.Open(unfinished)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	// Unlike a rename, a link fails if the name exists: a backup is never overwritten.
	if err := os.Link(unfinished, path); err != nil {
		return 0, err
	}
	if err := os.Remove(unfinished); err != nil {
		return 0, err
	}
	return info.Size(), syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// deleteUnfinished deletes what an interrupted backup has left behind. Package keyring does the
// same for the keys.
func deleteUnfinished(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if n := len(backupNew); len(e.Name()) > n && e.Name()[:n] == backupNew {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// copyData copies a snapshot of the database into a new file.
func (s *Store) copyData(ctx context.Context, to string, progress func(im.Progress)) (err error) {
	source, err := openSession(s.path, s.options, reading)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.close()) }()
	if err := source.control("BEGIN"); err != nil {
		return err
	}
	var size int64 // this read begins the snapshot
	if _, err := source.row("SELECT page_size FROM pragma_page_size, meta LIMIT 1", nil, &size); err != nil {
		return err
	}
	err = copyPages(ctx, source, to, func(done, total int) {
		if progress != nil {
			progress(im.Progress{Done: int64(done) * size, Total: int64(total) * size})
		}
	})
	return errors.Join(err, source.control("ROLLBACK"))
}

// copyPages copies the database of a session, page by page, into a new file. It does not
// sync the file.
func copyPages(ctx context.Context, source *session, to string, progress func(done, total int)) error {
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	conn, err := (&sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		// An incomplete copy will be deleted, so it needs no journal.
		_, err := c.Exec("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA temp_store = MEMORY", nil)
		return err
	}}).Open(dataSource(to))
	if err != nil {
		return err
	}
	b, err := conn.(*sqlite3.SQLiteConn).Backup("main", source.conn, "main")
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	return errors.Join(stepBackup(ctx, b, progress), b.Finish(), conn.Close())
}

func stepBackup(ctx context.Context, b *sqlite3.SQLiteBackup, progress func(done, total int)) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		began := time.Now()
		done, err := b.Step(backupPages)
		if err != nil {
			return err
		}
		progress(b.PageCount()-b.Remaining(), b.PageCount())
		if done {
			return nil
		}
		if err := im.PauseAfter(ctx, time.Since(began)); err != nil {
			return err
		}
	}
}

// markBackup turns a copy of a database into a backup: a single file, marked so that it is
// reconciled with the keys before it is read. It returns the keys that waited to be shredded when
// it was copied.
func markBackup(path string, o Options) (list []im.Shredding, err error) {
	// Without a write-ahead log the backup is one file, and can be read from read-only
	// media.
	session, err := openSession(path, o, copying)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.close()) }()
	var mode string
	if _, err := session.row("PRAGMA journal_mode = DELETE", nil, &mode); err != nil {
		return nil, err
	}
	if mode != "delete" {
		return nil, fmt.Errorf("the journal mode is %s", mode)
	}
	if err := session.inOne(func() error { return session.putReconcile(renewLog) }); err != nil {
		return nil, err
	}
	doomed, err := session.loadDoomed()
	return shreddings(doomed), err
}

// noteEpoch stores the epoch of the keys, which Backup has raised.
func (s *Store) noteEpoch() error {
	ctx := im.WithCaller(context.Background(), im.Caller{Job: "backup"})
	return s.Write(ctx, func(w im.Tx) error {
		_, err := w.(*tx).session.exec(putKeyEpoch, int64(s.sealer.keys.Epoch()))
		return err
	})
}
