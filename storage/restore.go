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

// Restoring says what [Restore] is to put in place.
type Restoring struct {
	// File is the backup.
	File string
	// KeysFrom is a copy of the keys that is put in place, too; "" keeps those that are
	// there.
	KeysFrom string
	// AcceptLostKeys goes on without any keys, if there are none.
	AcceptLostKeys bool
	// Progress is told how much of the backup was copied. It may be nil.
	Progress func(im.Progress)

	// step is told what comes next, in tests.
	step func(string)
}

// searchFiles are what the search index is in, beside the database. It is made anew.
var searchFiles = []string{"search.db", "search.db-wal", "search.db-shm"}

// Restore puts a backup in place of the database that Open would open, which must not be
// in use. What was there stays beside it, under the name that is returned; "" if there was
// nothing. The next Open brings what was restored in line with the keys, before anybody
// can read it.
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
		Keys:  func(store im.StoreID) error { return how.putKeys(ctx, keys, store) },
		Shred: func(store im.StoreID, list []im.Shredding) error { return shred(keys, store, list) },
	})
}

// putKeys puts the keys in place, or looks whether those that are there are of the store.
func (how Restoring) putKeys(ctx context.Context, path string, store im.StoreID) error {
	if how.KeysFrom != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err := keyring.Install(ctx, how.KeysFrom, path, store)
		if errors.Is(err, keyring.ErrAhead) {
			return fmt.Errorf("the keys in %s are not older than those given: leave out --keys-from, or what was erased since comes back", path)
		}
		return err
	}
	header, err := keyring.ReadHeader(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && how.AcceptLostKeys:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there are no keys in %s: give those that are beside the backups by --keys-from", path)
	case err == nil && header.Store != store:
		err = keyring.ErrForeign
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// shred destroys keys in the file at path, if there is one.
func shred(path string, store im.StoreID, list []im.Shredding) error {
	ring, err := keyring.Open(path, store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // which was accepted
	}
	if err != nil {
		return err
	}
	return errors.Join(ring.Shred(list), ring.Close())
}
