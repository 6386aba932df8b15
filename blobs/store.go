package blobs

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotFound means that no blob has the name.
var ErrNotFound = errors.New("blobs: no such blob")

// Store keeps streams of bytes under names, which consist of digits and the letters a to v. [Dir]
// implements it, and an object store could: a blob is written as one stream, and read from an
// offset. It is safe for concurrent use.
type Store interface {
	// Create begins a blob. Nobody can open it before [Writer.Commit] is called. The name must be
	// new.
	Create(ctx context.Context, name string) (Writer, error)

	// Open reads a blob from an offset, and returns the size of the whole blob in bytes. It returns
	// [ErrNotFound] if there is none.
	Open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error)

	// OpenEntry reads a listed blob from its beginning, even an unfinished one. It returns
	// [ErrNotFound] if it is gone, or unfinished and cannot be read.
	OpenEntry(ctx context.Context, e Entry) (io.ReadCloser, error)

	// Delete deletes a blob, or an unfinished one. It does nothing if there is none.
	Delete(ctx context.Context, name string) error

	// List calls fn with each blob, including unfinished ones, in any order. It returns an
	// error of fn unchanged.
	List(ctx context.Context, fn func(Entry) error) error
}

// Writer writes one blob. Either Commit or Abort must be called.
type Writer interface {
	io.Writer
	// Commit makes the bytes durable, then the blob visible, and returns once it is durable under
	// its name. After an error there may be a blob.
	Commit() error
	// Abort discards what was written.
	Abort() error
}

// Entry is a blob in a list.
type Entry struct {
	Name string
	// Changed is when it was last written.
	Changed time.Time
	// Unfinished is set for a blob that is being written, or was when the process ended.
	Unfinished bool
}
