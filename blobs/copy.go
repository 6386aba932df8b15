package blobs

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/imapi/imapi/im"
)

// Copied counts what [Copy] did.
type Copied struct {
	// Files and Bytes count what was copied or linked. Existing counts the files that the
	// destination already had.
	Files, Bytes, Existing int64
}

// Copy copies the blobs that are missing in one directory from another. They stay sealed. Where the
// file system allows it, Copy links the file, which is safe because blobs never change. A copy gets
// its name once it is durable, so an interrupted Copy leaves no incomplete blob and can be
// repeated. An existing blob is replaced only by a longer one, because the shorter of the two was
// truncated. Copy skips unfinished blobs, blobs that are deleted from the source in the meantime,
// and blobs of the store whose key is gone, which nobody can read. It calls progress with the
// number of bytes copied or linked so far. gone and progress may be nil.
func Copy(ctx context.Context, from, to *Dir, store im.StoreID, gone func(im.Slot) bool, progress func(bytes int64)) (done Copied, err error) {
	changed := map[string]bool{}
	err = from.List(ctx, func(e Entry) error {
		if e.Unfinished {
			return nil
		}
		n, err := copyBlob(from, to, e.Name, func() (bool, error) {
			if gone == nil {
				return false, nil
			}
			f, ours, err := NewFiles(from, store).describe(ctx, e)
			return ours && gone(f.Slot), err
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case n < 0:
			done.Existing++
			return nil
		}
		done.Files, done.Bytes = done.Files+1, done.Bytes+n
		changed[sub(e.Name)] = true
		if progress != nil {
			progress(done.Bytes)
		}
		return nil
	})
	for name := range changed {
		err = errors.Join(err, syncDir(filepath.Join(to.path, name)))
	}
	return done, err
}

// copyBlob copies a blob and returns its length; -1 if the other directory has it in at least
// the same length. It returns [fs.ErrNotExist] if there is no such blob, or if skip returns true
// for it.
func copyBlob(from, to *Dir, name string, skip func() (bool, error)) (int64, error) {
	source, err := os.Stat(from.file(name))
	if err != nil {
		return 0, err
	}
	if there, err := os.Stat(to.file(name)); err == nil && there.Size() >= source.Size() {
		return -1, nil
	}
	if skipped, err := skip(); err != nil || skipped {
		return 0, cmp.Or(err, fs.ErrNotExist)
	}
	if err := to.make(sub(name)); err != nil {
		return 0, err
	}
	if os.Link(from.file(name), to.file(name)) == nil {
		return source.Size(), nil
	}
	// Linking fails between file systems, on one without links, and if to has a truncated file.
	in, err := os.Open(from.file(name))
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }() // only read
	unfinished := to.unfinished(name)
	out, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err == nil {
		err = os.Rename(unfinished, to.file(name))
	}
	if err != nil {
		return 0, errors.Join(err, remove(unfinished))
	}
	return source.Size(), nil
}
