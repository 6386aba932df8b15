package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/keyring"
	"github.com/imapi/imapi/storage/sqlite"
)

// Restoring has the arguments of [Restore].
type Restoring struct {
	// File is the backup.
	File string
	// KeysFrom is a copy of the keys to install as well; "" keeps the present ones.
	KeysFrom string
	// AcceptLostKeys allows restoring without any keys.
	AcceptLostKeys bool
	// Progress is called with the number of bytes copied. It may be nil.
	Progress func(im.Progress)

	// step is called before each step; only tests set it.
	step func(string)
}

// searchFiles are the names of the files of the search index, beside the database. They are
// deleted, and the next Open rebuilds the index.
var searchFiles = []string{"search.db", "search.db-wal", "search.db-shm"}

// Restore replaces the database that Open would open, which must not be in use, by a backup. The
// replaced database is kept under the returned name, which is "" if there was none. The next Open
// reconciles the backup with the keys before it can be read.
func Restore(ctx context.Context, rawURL string, options Options, how Restoring) (replaced string, err error) {
	path, err := sqlitePath(rawURL, options.DataDir)
	if err != nil {
		return "", err
	}
	keys, err := keysPath(options.Keys, path)
	if err != nil {
		return "", err
	}
	derived := make([]string, len(searchFiles))
	for i, name := range searchFiles {
		derived[i] = filepath.Join(filepath.Dir(path), name)
	}
	return sqlite.Replace(ctx, path, sqlite.Replacing{
		Backup: how.File, Derived: derived, Progress: how.Progress, Now: options.Now, Step: how.step,
		Keys:  func(store im.StoreID) error { return how.installKeys(ctx, keys, store) },
		Shred: func(store im.StoreID, list []im.Shredding) error { return shred(keys, store, list) },
	})
}

// installKeys installs the keys of KeysFrom or, without it, checks that the present keys belong to
// the store. It refuses missing keys unless AcceptLostKeys is set.
func (how Restoring) installKeys(ctx context.Context, path string, store im.StoreID) error {
	if how.KeysFrom != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err := keyring.Install(ctx, how.KeysFrom, path, store)
		if errors.Is(err, keyring.ErrAhead) {
			return fmt.Errorf("the keys in %s are not older than the copy: leave out --keys-from, or messages erased after the copy could become readable", path)
		}
		return err
	}
	header, err := keyring.ReadHeader(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && how.AcceptLostKeys:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there are no keys in %s: use --keys-from with the copy beside the backups", path)
	case err == nil && header.Store != store:
		err = keyring.ErrForeign
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// shred shreds keys in the file at path, if it exists.
func shred(path string, store im.StoreID, list []im.Shredding) error {
	ring, err := keyring.Open(path, store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a missing file was accepted before
	}
	if err != nil {
		return err
	}
	return errors.Join(ring.Shred(list), ring.Close())
}
