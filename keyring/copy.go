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

// ErrAhead says that there is a newer copy of the keys than they are themselves: keys
// would be lost with it.
var ErrAhead = errors.New("the copy of the keys that is there is newer than the keys")

// errSelf is a copy onto itself.
var errSelf = errors.New("this is the key file itself")

const (
	// oldSuffix is of a copy that was replaced and is about to be destroyed, newInfix of
	// one that is being made.
	oldSuffix = ".old"
	newInfix  = ".new-"
	// copyStep is how many bytes are copied at once.
	copyStep = 64 * pageSize
)

// Copy makes the file at path a copy of the keys that is at least as new as they were when
// it was called, in place of an older one, which is overwritten and removed: what was
// shredded since then can be read in no copy that Copy has made there. progress, which may
// be nil, is told how many bytes of how many were copied.
//
// It is whole or not there: it is written under another name, synced and renamed. What an
// earlier call has left that did not come to its end is destroyed, too. Errors have
// [ErrForeign] or [ErrAhead] in their chain if another file is at path, which is left.
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
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+newInfix+"*") // of mode 0600
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
	return Replace(f.Name(), path)
}

// mayReplace refuses to overwrite what is no older copy of these keys.
func (r *Ring) mayReplace(path string) error {
	there, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = there.Close() }()
	if own, ok := r.file.(osFile); ok {
		a, err := own.Stat()
		if err != nil {
			return err
		}
		b, err := there.Stat()
		if err != nil {
			return err
		}
		if os.SameFile(a, b) {
			return errSelf
		}
	}
	epoch, err := epochOf(there, r.header.Store)
	if err == nil && epoch > r.Epoch() {
		err = ErrAhead
	}
	return err
}

// copyTo writes the keys to an empty file. Pages of which all was removed are left out,
// and read as zeros.
func (r *Ring) copyTo(ctx context.Context, f *os.File, progress func(done, total int64)) error {
	// The epoch first: of what is shredded meanwhile the copy may have the key, and must
	// not say that it has not.
	epoch, err := readEpoch(r.file)
	if err != nil {
		return err
	}
	size := int64(r.pages.end()) * im.KeySize
	// Of a ring that is closed it is 0: the copy would have no keys, and replace one that has.
	if r.closes() {
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

func (r *Ring) closes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == closing
}

// readAt reads from the file while nothing is shredded.
func (p *pages) readAt(b []byte, at int64) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, err := p.file.ReadAt(b, at)
	return err
}

func zeros(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// Replace gives a key file, which must be synced, its name, and destroys the one that has
// had it. At any moment one of the two is there, whole.
func Replace(from, path string) error {
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

// destroyLeftovers destroys what a call that did not come to its end has left beside the
// file at path.
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

// destroy overwrites a key file and removes it. Without that its keys would stay on the
// disk until something else is written there. If it still has another name, because its
// replacement was never renamed, only this one goes.
func destroy(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !named(path) {
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

// named reports whether the file at path.old is the one at path, too.
func named(old string) bool {
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

// overwrite writes zeros where a file has anything else.
func overwrite(f *os.File) error {
	b, blank := make([]byte, copyStep), make([]byte, copyStep)
	defer clear(b)
	for at := int64(0); ; {
		n, err := f.ReadAt(b, at)
		if n > 0 && !zeros(b[:n]) {
			if _, err := f.WriteAt(blank[:n], at); err != nil {
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

// Install makes the file at path a copy of a key file of a store, in place of what is
// there, which is overwritten and removed. Errors have those of [Open] in their chain,
// and [ErrAhead] if what is there is of the same store and not older: keys would be lost.
func Install(ctx context.Context, from, path string, store im.StoreID) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("put the keys of %s in place: %w", from, err)
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
	// Also if it is refused: the call before may have been cut off after the keys had their
	// name, and those that they replaced must not be left lying.
	if err := destroyLeftovers(path); err != nil {
		return err
	}
	switch there, err := os.Open(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		present, err := epochOf(there, store)
		if err := errors.Join(err, there.Close()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if present >= epoch {
			return ErrAhead
		}
	}
	to, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+newInfix+"*") // of mode 0600
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
	return Replace(to.Name(), path)
}

// epochOf returns the epoch of a key file, if it is that of a store.
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

// copySparse copies a file, and leaves out what is zero.
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
