// Package storage opens the storage engine that a URL names, with its keys. storage.go opens the
// engine, restore.go restores a backup.
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

// BatchStats describes a transaction of an engine.
type BatchStats = sqlite.BatchStats

// ShredStats describes a batch of shredded keys.
type ShredStats = sqlite.ShredStats

// Options configures an engine. The zero value of each field except DataDir is the default of a
// server.
type Options struct {
	// DataDir is the directory of the SQLite file if the URL names none.
	DataDir string
	// Synchronous is "full", with which acknowledged writes survive a power cut, or
	// "normal", with which they survive only a crash of the process.
	Synchronous string
	// Observe is called after every batch of writes. It must not block. It may be nil.
	Observe func(BatchStats)
	// ObserveLog is called after each check of the write-ahead log with the number of bytes
	// that are not in the database yet. It must not block. It may be nil.
	ObserveLog func(unmoved int64)
	// Logger logs errors that no caller receives.
	Logger *slog.Logger
	// Now is the clock.
	Now func() time.Time
	// Keys is the key file; the default is "keys" beside the SQLite file.
	Keys string
	// ObserveShred is called after every batch of shredded keys. It must not block. It may be
	// nil.
	ObserveShred func(ShredStats)
	// AcceptLostKeys turns messages into tombstones if their keys are missing because the
	// key file is older than the data, or does not exist. Without it, Open fails in that case.
	AcceptLostKeys bool
	// Reconciled is called with the changes that Open made to data and keys that had not always
	// been together. It may be nil.
	Reconciled func(im.Reconciled)
	// Progress is called while Open checks all keys, if they have not always been together
	// with the data. It may be nil.
	Progress func(im.Progress)
	// ReadLimit is the maximum duration of a read transaction.
	ReadLimit time.Duration
}

// ErrInUse is in the chain of Open's error if another process has opened the data.
var ErrInUse = sqlite.ErrInUse

// fileName is the name of the SQLite file in the data directory.
const fileName = "imapi.db"

// Open opens the engine that a URL names:
//
//	""                      SQLite in imapi.db in options.DataDir
//	sqlite:///var/lib/x.db  SQLite in a file with an absolute path
//	sqlite:data/x.db        SQLite in a file relative to the working directory
//
// The directory of a SQLite file is created if necessary. Directory and file are locked
// until Close.
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

// keysName is the name of the key file beside the SQLite file.
const keysName = "keys"

// keysPath returns the key file of a database, which options may name. It may be a symbolic
// link to another device.
func keysPath(named, database string) (string, error) {
	path, err := sqlite.Resolve(cmp.Or(named, filepath.Join(filepath.Dir(database), keysName)))
	if err != nil {
		return "", fmt.Errorf("find the key file: %w", err)
	}
	return path, nil
}

// openKeys returns a function that opens the key file at path. It creates the file for a new store,
// or if it is missing and lost keys are accepted.
func openKeys(path string, acceptLost bool) func(im.StoreID, bool) (im.Keys, error) {
	return func(store im.StoreID, fresh bool) (im.Keys, error) {
		if fresh || acceptLost {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return nil, fmt.Errorf("create the directory of the key file: %w", err)
			}
			if err := keyring.Create(path, store); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
		}
		ring, err := keyring.Open(path, store)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: the key file is missing, and without it no message can be read. "+
				"Put it or its newest copy there, or name it with --keys. With --accept-lost-keys all messages are lost for good", err)
		}
		if err != nil {
			return nil, err
		}
		return ring, nil
	}
}

// Exists reports whether Open would find a database rather than create one. Its errors are
// from parsing the URL and finding the file.
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

// Versions returns the version of the schema of a database, and the newest version, to which Open
// would migrate it. It changes nothing, and works while a server runs.
func Versions(rawURL, dataDir string) (version, newest int, err error) {
	path, err := sqlitePath(rawURL, dataDir)
	if err != nil {
		return 0, 0, err
	}
	return sqlite.Versions(path)
}

// sqlitePath returns the file that a URL names. Errors do not quote the URL, which may
// contain a password.
func sqlitePath(rawURL, dataDir string) (string, error) {
	if rawURL == "" {
		if dataDir == "" {
			return "", fmt.Errorf("there is neither a database URL nor a data directory")
		}
		return filepath.Join(dataDir, fileName), nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("the database URL is invalid")
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
		return "", fmt.Errorf("the database URL is invalid")
	}
	if path == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("a database URL for SQLite has only a path, such as sqlite:///path/to/imapi.db")
	}
	return filepath.FromSlash(path), nil
}
