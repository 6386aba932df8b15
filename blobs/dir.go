package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// unfinishedDir is the subdirectory of blobs that are being written.
const unfinishedDir = "unfinished"

// Dir is a [Store] in a directory. A blob is a file in one of 1,024 subdirectories, so that
// none becomes large. A subdirectory is named after the last two characters of the blob's name,
// which are random in an id. Of the users of the system, only the one that runs the server can read
// files and directories.
type Dir struct {
	path string

	mu   sync.Mutex
	made map[string]bool // subdirectories that exist and are durable
}

var _ Store = (*Dir)(nil)

// OpenDir opens a directory and creates it if necessary.
func OpenDir(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, made: map[string]bool{}}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of blobs: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return d, d.make(unfinishedDir)
}

// ReadDir returns the engine for a directory that is only read. It need not exist; then
// [Dir.Open] returns [ErrNotFound] and [Dir.List] an error.
func ReadDir(path string) *Dir { return &Dir{path: path, made: map[string]bool{}} }

// Is reports whether two engines use the same directory, even by different paths.
func (d *Dir) Is(other *Dir) bool {
	a, errA := os.Stat(d.path)
	b, errB := os.Stat(other.path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// make creates a subdirectory durably.
func (d *Dir) make(sub string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made[sub] {
		return nil
	}
	if err := os.Mkdir(filepath.Join(d.path, sub), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(d.path); err != nil {
		return err
	}
	d.made[sub] = true
	return nil
}

// sub returns the subdirectory of a name.
func sub(name string) string { return name[max(0, len(name)-2):] }

// valid reports whether a name may be that of a blob. No other name is made part of a path.
func valid(name string) bool {
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return len(name) >= 2 && len(name) <= 64
}

func (d *Dir) file(name string) string       { return filepath.Join(d.path, sub(name), name) }
func (d *Dir) unfinished(name string) string { return filepath.Join(d.path, unfinishedDir, name) }

// Create begins a blob in a file in the subdirectory of unfinished ones.
func (d *Dir) Create(_ context.Context, name string) (Writer, error) {
	if !valid(name) {
		return nil, fmt.Errorf("blobs: %q is not a name", name)
	}
	f, err := os.OpenFile(d.unfinished(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &dirWriter{File: f, dir: d, name: name}, nil
}

type dirWriter struct {
	*os.File
	dir  *Dir
	name string
	// written is the length of the file, and started the part of it whose writeback was started, in
	// bytes.
	written, started int64
}

// writebackBytes is the number of bytes after which writeback to the disk is started. The disk then
// writes while the rest arrives, so Commit does not wait for all of it.
const writebackBytes = 1 << 20

// Write writes to the file.
func (w *dirWriter) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	if w.written += int64(n); w.written-w.started >= writebackBytes {
		startWriteback(w.File, w.started, w.written-w.started)
		w.started = w.written
	}
	return n, err
}

// Commit syncs the file, renames it into its directory, and syncs that.
func (w *dirWriter) Commit() error {
	err := errors.Join(w.Sync(), w.Close())
	if err == nil {
		err = w.dir.make(sub(w.name))
	}
	if err == nil {
		err = os.Rename(w.File.Name(), w.dir.file(w.name))
	}
	if err != nil {
		return errors.Join(err, remove(w.File.Name()))
	}
	return syncDir(filepath.Join(w.dir.path, sub(w.name)))
}

// Abort deletes the file.
func (w *dirWriter) Abort() error { return errors.Join(w.Close(), remove(w.File.Name())) }

// Open reads a file from an offset.
func (d *Dir) Open(_ context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	if !valid(name) {
		return nil, 0, ErrNotFound
	}
	f, err := os.Open(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && offset > 0 {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// OpenEntry reads a blob of a list from its beginning.
func (d *Dir) OpenEntry(_ context.Context, e Entry) (io.ReadCloser, error) {
	if !valid(e.Name) {
		return nil, ErrNotFound
	}
	path := d.file(e.Name)
	if e.Unfinished {
		path = d.unfinished(e.Name)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Delete deletes the files of a name. No directory is synced: the next sweep finds files
// that a power cut brings back.
func (d *Dir) Delete(_ context.Context, name string) error {
	if !valid(name) {
		return nil
	}
	return errors.Join(remove(d.file(name)), remove(d.unfinished(name)))
}

// remove deletes a file that may not exist.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// listBatch is the number of names of a directory that are read at a time.
const listBatch = 512

// List goes through the subdirectories. It skips whatever is not a regular file that has the name
// of a blob and is in the subdirectory of that name.
func (d *Dir) List(ctx context.Context, fn func(Entry) error) error {
	subs, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, s := range subs {
		if !s.IsDir() {
			continue
		}
		err := eachFile(filepath.Join(d.path, s.Name()), func(f fs.DirEntry) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			e := Entry{Name: f.Name(), Unfinished: s.Name() == unfinishedDir}
			if !f.Type().IsRegular() || !valid(e.Name) || !e.Unfinished && sub(e.Name) != s.Name() {
				return nil
			}
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted or finished in the meantime
			}
			if err != nil {
				return err
			}
			e.Changed = info.ModTime()
			return fn(e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachFile calls fn with each entry of a directory. It reads a bounded number of them at a
// time.
func eachFile(dir string, fn func(fs.DirEntry) error) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for {
		list, err := f.ReadDir(listBatch)
		for _, e := range list {
			if err := fn(e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
