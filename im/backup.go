package im

import (
	"context"
	"time"
)

// The name of a backup is BackupPrefix, the time and BackupSuffix.
const (
	BackupPrefix = "imapi-"
	BackupSuffix = ".db"
)

// BackupName returns the file name of a backup made at a time.
func BackupName(at time.Time) string {
	return BackupPrefix + at.UTC().Format("20060102T150405.000Z") + BackupSuffix
}

// Backup is a copy of the data.
type Backup struct {
	// Path is the file of the copy. Its contents are sealed under the keys beside it.
	Path string
	// At is when it was made, and Bytes its size.
	At    time.Time
	Bytes int64
}

// Progress is the progress of a long operation, in bytes or in items.
type Progress struct{ Done, Total int64 }

// Backuper is a [Store] that can copy itself into a directory while it runs.
type Backuper interface {
	// Backup writes a copy of the current data, named by [BackupName], and a copy of the
	// keys that replaces an older one. Both copies are durable when it returns. also is called once
	// the data is copied, before the copy gets its name; its error ends the backup. also and
	// progress may be nil.
	Backup(ctx context.Context, dir string, also func() error, progress func(Progress)) (Backup, error)
}

// Reindexer is a [Store] that can rebuild its search index.
type Reindexer interface {
	// Reindex rebuilds the index from the messages and returns when it is complete.
	// In the meantime searches find everything, but more slowly. progress, which may be nil, is
	// called with the number of messages in the index and the approximate total. If ctx ends first,
	// Reindex returns its cause and the rebuilding continues.
	Reindex(ctx context.Context, progress func(done, total int64)) error
}

// KeysCopier is implemented by [Keys] that can be copied to a file.
type KeysCopier interface {
	// Copy writes a copy of the keys to the file at path, and destroys the older copy there.
	// progress, which may be nil, is called with numbers of bytes.
	Copy(ctx context.Context, path string, progress func(done, total int64)) error
}
