package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/imapi/imapi/im"
)

// ErrAhead reports that the file to be replaced is newer than the keys that would replace it, or,
// by [Install], that it is as new. Replacing it could lose keys, or bring shredded ones back.
var ErrAhead = errors.New("the keys to be replaced are not older")

// errSelf reports a copy of the key file onto itself.
var errSelf = errors.New("this path is the key file itself")

const (
	// oldSuffix marks a copy that was replaced and is about to be destroyed. newInfix marks
	// a copy that is being written.
	oldSuffix = ".old"
	newInfix  = ".new-"
	// copyStep is the number of bytes that are copied at a time.
	copyStep = 64 * pageSize
)

// Copy writes a copy of the key file to path. The copy is at least as new as the keys were
// when Copy was called. A copy at path that is not newer is replaced, overwritten and deleted,
// so no copy at path still has a key that was shredded before the call. progress, which may be
// nil, is called with the number of bytes copied and the total.
//
// The copy is atomic: it is written under another name, synced and renamed. Leftovers of an
// interrupted call are destroyed. The error has [ErrForeign] or [ErrAhead] in its chain if
// path holds the keys of another store, or a newer copy; that file is kept.
func (r *Ring) Copy(ctx context.Context, path string, progress func(done, total int64)) error {
	if err := r.copy(ctx, path, progress); err != nil {
		return fmt.Errorf("copy the keys to %s: %w", path, err)
	}
	return nil
}

func (r *Ring) copy(ctx context.Context, path string, progress func(done, total int64)) (err error) {
	if err := r.mayReplace(path); err != nil {
		return err
	}
	if err := destroyLeftovers(path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+newInfix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, destroy(f.Name()))
		}
	}()
	err = r.copyTo(ctx, f, progress)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return replace(f.Name(), path)
}

// mayReplace returns an error unless the file at path is missing or a copy of these keys that is
// not newer.
func (r *Ring) mayReplace(path string) error {
	existing, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = existing.Close() }()
	if own, ok := r.file.(osFile); ok {
		a, err := own.Stat()
		if err != nil {
			return err
		}
		b, err := existing.Stat()
		if err != nil {
			return err
		}
		if os.SameFile(a, b) {
			return errSelf
		}
	}
	epoch, err := epochOf(existing, r.header.Store)
	if err == nil && epoch > r.Epoch() {
		err = ErrAhead
	}
	return err
}

// copyTo writes the keys to an empty file. It skips pages of zeros, which makes them holes.
func (r *Ring) copyTo(ctx context.Context, f *os.File, progress func(done, total int64)) error {
	// Read the epoch before the keys. Keys that are shredded in the meantime may still be in the
	// copy, so it must not have the epoch of that shredding.
	epoch, err := readEpoch(r.file)
	if err != nil {
		return err
	}
	size := int64(r.pages.end()) * im.KeySize
	// A closed ring has no pages. Its copy would be empty and would replace a good one.
	if r.closed() {
		return ErrClosed
	}
	head := r.header.page()
	copy(head[atEpoch:], epochBytes(epoch))
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	b := make([]byte, copyStep)
	defer clear(b)
	for at := int64(pageSize); at < size; at += copyStep {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := int(min(copyStep, size-at))
		if err := r.pages.readAt(b[:n], at); err != nil {
			return err
		}
		for from := 0; from < n; from += pageSize {
			if page := b[from:min(from+pageSize, n)]; !zeros(page) {
				if _, err := f.WriteAt(page, at+int64(from)); err != nil {
					return err
				}
			}
		}
		if progress != nil {
			progress(at+int64(n), size)
		}
	}
	return f.Truncate(max(size, pageSize))
}

func (r *Ring) closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == closing
}

func zeros(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// replace renames a synced key file to path and destroys the file that was there. At any moment one
// of the two is complete at path.
func replace(from, path string) error {
	old := path + oldSuffix
	if err := os.Link(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(from, path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return destroyLeftovers(path)
}

// destroyLeftovers destroys what an interrupted call has left beside the file at path.
func destroyLeftovers(path string) error {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != base+oldSuffix && !strings.HasPrefix(e.Name(), base+newInfix) {
			continue
		}
		if err := destroy(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// destroy overwrites a key file and deletes it. If it were only deleted, its keys would
// stay on the disk until the blocks are reused. If the file has another name, because its
// replacement was never renamed, only this name is deleted.
func destroy(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !isCurrent(path) {
		err = overwrite(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// isCurrent reports whether old, which is path.old, is a link to the file at path.
func isCurrent(old string) bool {
	if filepath.Ext(old) != oldSuffix {
		return false
	}
	a, err := os.Stat(old)
	if err != nil {
		return false
	}
	b, err := os.Stat(old[:len(old)-len(oldSuffix)])
	return err == nil && os.SameFile(a, b)
}

// overwrite writes zeros wherever a file holds anything else, and syncs it.
func overwrite(f *os.File) error {
	b, zero := make([]byte, copyStep), make([]byte, copyStep)
	defer clear(b)
	for at := int64(0); ; {
		n, err := f.ReadAt(b, at)
		if n > 0 && !zeros(b[:n]) {
			if _, err := f.WriteAt(zero[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return f.Sync()
		}
		if err != nil {
			return err
		}
	}
}

// Install copies a key file of a store to path. A file at path is replaced, overwritten and
// deleted. The error has one of the errors of [Open] in its chain, or [ErrAhead] if the file at
// path belongs to the same store and is not older.
func Install(ctx context.Context, from, path string, store im.StoreID) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("install the keys of %s: %w", from, err)
		}
	}()
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	epoch, err := epochOf(f, store)
	if err != nil {
		return err
	}
	// Do this even before refusing: an earlier call may have been interrupted after the rename, and
	// the keys that it replaced must not stay on the disk.
	if err := destroyLeftovers(path); err != nil {
		return err
	}
	switch existing, err := os.Open(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		present, err := epochOf(existing, store)
		if err := errors.Join(err, existing.Close()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if present >= epoch {
			return ErrAhead
		}
	}
	to, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+newInfix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, destroy(to.Name()))
		}
	}()
	err = copySparse(ctx, to, f)
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		return err
	}
	return replace(to.Name(), path)
}

// epochOf returns the epoch of a key file of a store. The error is [ErrForeign] if the file belongs
// to another store.
func epochOf(f io.ReaderAt, store im.StoreID) (uint64, error) {
	h, err := firstPage(f)
	if err != nil {
		return 0, err
	}
	if h.Store != store {
		return 0, ErrForeign
	}
	return readEpoch(f)
}

// copySparse copies a file and skips blocks of zeros, which become holes.
func copySparse(ctx context.Context, to, from *os.File) error {
	b := make([]byte, copyStep)
	defer clear(b)
	for at := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := from.ReadAt(b, at)
		if n > 0 && !zeros(b[:n]) {
			if _, err := to.WriteAt(b[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return to.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}
