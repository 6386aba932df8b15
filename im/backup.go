package im

import (
	"context"
	"time"
)

// BackupSuffix ends the names of backups, and BackupPrefix begins them; the time is
// between the two.
const (
	BackupPrefix = "imapi-"
	BackupSuffix = ".db"
)

// BackupName returns the name of a backup that is made at a time.
func BackupName(at time.Time) string {
	return BackupPrefix + at.UTC().Format("20060102T150405.000Z") + BackupSuffix
}

// Backup is a copy of the data that was made.
type Backup struct {
	// Path is where it is. What it holds is sealed under the keys that are beside it.
	Path  string
	At    time.Time
	Bytes int64
}

// Progress says how far something is that takes long: how much of how much was done, in
// bytes or in things.
type Progress struct{ Done, Total int64 }

// Backuper is a [Store] that can copy itself into a directory while it runs.
type Backuper interface {
	// Backup writes a copy of the data as of about now, under the name of [BackupName],
	// and a copy of the keys that replaces the one that is there. Both are on the disk
	// when it returns. progress may be nil.
	Backup(ctx context.Context, dir string, progress func(Progress)) (Backup, error)
}

// Reindexer is a [Store] that can make its search index anew.
type Reindexer interface {
	// Reindex makes it from the messages, and returns when it is complete. Meanwhile
	// everything is found as ever, more slowly. progress, which may be nil, is told of
	// how many messages are in it, of about how many in all. It returns when the context
	// is done, too, and the index is made all the same.
	Reindex(ctx context.Context, progress func(done, total int64)) error
}

// KeysCopier is [Keys] that can be copied to a file.
type KeysCopier interface {
	// Copy makes the file at path a copy of the keys, in place of an older one, which is
	// destroyed. progress may be nil, and is told of bytes.
	Copy(ctx context.Context, path string, progress func(done, total int64)) error
}
