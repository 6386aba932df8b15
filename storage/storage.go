// Package storage opens the engine that keeps the state.
package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/keyring"
	"github.com/imapi/imapi/storage/sqlite"
)

// BatchStats tell how one transaction of an engine went.
type BatchStats = sqlite.BatchStats

// ShredStats tell how one batch of shredding went.
type ShredStats = sqlite.ShredStats

// Options say how an engine works. The zero value of each but DataDir is what
// a server uses.
type Options struct {
	// DataDir is the directory of the SQLite file if the URL names none.
	DataDir string
	// Synchronous is "full" (what was acknowledged survives a power cut) or
	// "normal" (it survives a crash of the process alone).
	Synchronous string
	// Readers is the number of connections that read.
	Readers int
	// Observe is told of every batch of writes. It must not block.
	Observe func(BatchStats)
	// ObserveLog is told how many bytes of the write-ahead log are not in the database
	// yet, whenever it was looked at. It must not block.
	ObserveLog func(unmoved int64)
	// Logger gets what no caller is told.
	Logger *slog.Logger
	// Now is the clock by which batches are timed.
	Now func() time.Time
	// Keys is the file of the keys that content is sealed under; "keys" beside the
	// SQLite file if it is "".
	Keys string
	// ObserveShred is told of every batch of keys that was shredded. It must not block.
	ObserveShred func(ShredStats)
	// AcceptLostKeys makes tombstones of messages whose keys are missing, for the key file
	// is older than the data or is not there, instead of failing.
	AcceptLostKeys bool
	// Reconciled is told what Open has made of data and keys that were not always
	// together. It may be nil.
	Reconciled func(im.Reconciled)
	// Progress is told how far Open is with looking at all keys, if they were not always
	// together with the data. It may be nil.
	Progress func(im.Progress)
	// ReadLimit is how long a read may take before it is ended with an error.
	ReadLimit time.Duration
}

// ErrInUse is in the chain of Open's error if another process has the data.
var ErrInUse = sqlite.ErrInUse

// fileName is the SQLite file in the data directory.
const fileName = "imapi.db"

// Open opens the engine that a URL names:
//
//	""                      SQLite in imapi.db in options.DataDir
//	sqlite:///var/lib/x.db  SQLite in the file of an absolute path
//	sqlite:data/x.db        SQLite in a file from the working directory on
//
// The directory of an SQLite file is made if it is not there, and both are this
// store's alone until Close.
func Open(ctx context.Context, rawURL string, options Options) (im.Store, error) {
	path, err := sqlitePath(rawURL, options.DataDir)
	if err != nil {
		return nil, err
	}
	keys, err := keysPath(options.Keys, path)
	if err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, path, sqlite.Options{
		Synchronous: options.Synchronous,
		Readers:     options.Readers,
		Observe:     options.Observe,
		ObserveLog:  options.ObserveLog,
		Logger:      options.Logger,
		Now:         options.Now,
		ReadLimit:   options.ReadLimit,

		Keys:         openKeys(keys, options.AcceptLostKeys),
		ObserveShred: options.ObserveShred,

		AcceptLostKeys: options.AcceptLostKeys,
		Progress:       options.Progress,
		Reconciled:     options.Reconciled,
	})
	if err != nil {
		return nil, fmt.Errorf("open the storage: %w", err)
	}
	return store, nil
}

// keysName is the file of the keys beside the SQLite file.
const keysName = "keys"

// keysPath returns the file of the keys of a database, which options may name. It may be a
// link to another device.
func keysPath(named, database string) (string, error) {
	path, err := sqlite.Resolve(cmp.Or(named, filepath.Join(filepath.Dir(database), keysName)))
	if err != nil {
		return "", fmt.Errorf("find the key file: %w", err)
	}
	return path, nil
}

// openKeys returns what opens the key file at path. It makes the file for a store without
// content, and, if lost keys are accepted, for one whose file is gone.
func openKeys(path string, acceptLost bool) func(im.StoreID, bool) (im.Keys, error) {
	return func(store im.StoreID, fresh bool) (im.Keys, error) {
		if fresh || acceptLost {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return nil, fmt.Errorf("make the directory of the key file: %w", err)
			}
			if err := keyring.Create(path, store); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
		}
		ring, err := keyring.Open(path, store)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: the key file is gone, and without it nothing that was said can be read. "+
				"Put it in place, or the newest copy of it, or name it by --keys; with --accept-lost-keys all that was said is gone for good", err)
		}
		if err != nil {
			return nil, err
		}
		return ring, nil
	}
}

// Exists reports whether Open would find a database, and not make one. Its errors are
// those of the URL and of looking for the file.
func Exists(rawURL, dataDir string) (bool, error) {
	path, err := sqlitePath(rawURL, dataDir)
	if err != nil {
		return false, err
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("find the database: %w", err)
	}
	return true, nil
}

// sqlitePath returns the file that a URL names. Errors do not quote the URL,
// which may hold a password.
func sqlitePath(rawURL, dataDir string) (string, error) {
	if rawURL == "" {
		if dataDir == "" {
			return "", fmt.Errorf("neither a database URL nor a data directory is given")
		}
		return filepath.Join(dataDir, fileName), nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("the database URL cannot be read")
	}
	switch u.Scheme {
	case "sqlite":
	case "postgres", "postgresql":
		return "", fmt.Errorf("PostgreSQL is not supported by this build")
	default:
		return "", fmt.Errorf("the database URL has the unknown scheme %q: use sqlite:///path/to/imapi.db", u.Scheme)
	}
	path := u.Opaque
	if path == "" {
		path = u.Host + u.Path
	} else if path, err = url.PathUnescape(path); err != nil {
		return "", fmt.Errorf("the database URL cannot be read")
	}
	if path == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("a database URL for SQLite is sqlite:///path/to/imapi.db, without anything else")
	}
	return filepath.FromSlash(path), nil
}
