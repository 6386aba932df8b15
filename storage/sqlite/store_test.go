package sqlite

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/storagetest"
)

// quiet keeps what tests provoke out of their output.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// openAt opens a store that is closed when the test ends.
func openAt(tb testing.TB, path string, options Options) *Store {
	tb.Helper()
	if options.ReadLimit == 0 {
		options.ReadLimit = time.Minute
	}
	if options.Logger == nil {
		options.Logger = quiet
	}
	s, err := Open(context.Background(), path, options)
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

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) im.Store { return openNew(t, Options{}) })
}
