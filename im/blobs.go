package im

import (
	"context"
	"io"
	"time"
)

// Blob identifies a sealed file and the key that it is sealed with. A key seals one blob.
type Blob struct {
	ID   ID
	Slot Slot
	Key  Key
}

// Blobs keeps sealed files. Package blobs implements it. It returns errors as [Store] does, and an
// error of its own for a damaged file.
type Blobs interface {
	// Create begins a blob. It exists once its Commit has returned. seen is called with the written
	// bytes, in parts of 64 KiB except for the last one. It must not keep them. It is called for
	// one part at a time, in any goroutine, and not after Commit or Abort has returned.
	Create(ctx context.Context, b Blob, seen func(part []byte)) (BlobWriter, error)
	// Open opens a blob of size bytes, or returns ErrNotFound. The reader holds a bounded part of
	// the blob in memory.
	Open(ctx context.Context, b Blob, size int64) (BlobReader, error)
	// Check reads a whole blob, and returns an error if it cannot be read.
	Check(ctx context.Context, b Blob, size int64) error
	// Delete deletes a blob. It does nothing if there is none.
	Delete(ctx context.Context, id ID) error
	// List calls fn with each blob, in any order, and returns an error of fn unchanged.
	List(ctx context.Context, fn func(BlobFile) error) error
	// Wrote reports whether a blob was written with this key.
	Wrote(ctx context.Context, f BlobFile, k Key) (bool, error)
}

// BlobWriter writes a blob. Either Commit or Abort must be called; what was written before
// Commit is visible to nobody.
type BlobWriter interface {
	io.Writer
	io.ReaderFrom
	// Commit makes the blob durable. After an error it may exist.
	Commit() error
	Abort() error
}

// BlobReader reads a blob.
type BlobReader interface {
	io.ReadSeekCloser
	// Next returns the next bytes, at least one and at most limit, or io.EOF. They are valid
	// until the next call of the reader. It saves the copy that Read makes. limit is the number of
	// bytes that the caller still wants: the reader may load those after the returned ones in
	// advance.
	Next(limit int64) ([]byte, error)
}

// BlobFile is a blob in a list.
type BlobFile struct {
	ID ID
	// Slot is the slot that the blob claims to be sealed with, 0 if it does not say.
	Slot Slot
	// Changed is when it was last written.
	Changed time.Time
	// Unfinished is set if it is being written, or was when the process ended.
	Unfinished bool
}
