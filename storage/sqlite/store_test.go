package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/keyring"
	"github.com/imapi/imapi/storage/storagetest"
)

// quiet discards the log messages that tests provoke.
var quiet = slog.New(slog.DiscardHandler)

// openAt opens a store and closes it when the test ends.
func openAt(tb testing.TB, path string, options Options) *Store {
	tb.Helper()
	if options.ReadLimit == 0 {
		options.ReadLimit = time.Minute
	}
	if options.Logger == nil {
		options.Logger = quiet
	}
	s, err := Open(context.Background(), path, withKeys(path, options))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func openNew(tb testing.TB, options Options) *Store {
	tb.Helper()
	return openAt(tb, filepath.Join(tb.TempDir(), "imapi.db"), options)
}

// TestStore runs the suite on a store with the options of a server.
func TestStore(t *testing.T) {
	if testing.Short() {
		t.Skip("TestPlans runs the suite")
	}
	storagetest.Run(t, func(t *testing.T) im.Store { return openNew(t, Options{}) })
}

// withKeys sets a key file beside the database.
func withKeys(path string, options Options) Options {
	options.Keys = func(store im.StoreID, fresh bool) (im.Keys, error) {
		path := filepath.Join(filepath.Dir(path), "keys")
		if fresh {
			if err := keyring.Create(path, store); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
		}
		return keyring.Open(path, store)
	}
	return options
}
