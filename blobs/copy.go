package blobs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Copied counts what [Copy] did.
type Copied struct {
	// Files and Bytes were copied or linked, There had been before.
	Files, Bytes, There int64
}

// Copy copies the blobs that a directory lacks from another one, as they are: sealed. Where
// the file system allows it, it makes a link, which is safe since blobs never change. A copy
// gets its name once it is durable, so an interrupted Copy leaves no incomplete blob, and can
// be repeated. A blob that is there is replaced only by a longer one: the shorter of the two
// was truncated. Blobs that are deleted from the source meanwhile are skipped. progress, which
// may be nil, is called with the number of bytes that were copied or linked.
func Copy(ctx context.Context, from, to *Dir, progress func(bytes int64)) (done Copied, err error) {
	changed := map[string]bool{}
	err = from.List(ctx, func(e Entry) error {
		if e.Unfinished {
			return nil
		}
		n, err := copyBlob(from, to, e.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case n < 0:
			done.There++
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

// copyBlob copies a blob and returns its length; -1 if the other directory has it.
func copyBlob(from, to *Dir, name string) (int64, error) {
	source, err := os.Stat(from.file(name))
	if err != nil {
		return 0, err
	}
	if there, err := os.Stat(to.file(name)); err == nil && there.Size() >= source.Size() {
		return -1, nil
	}
	if err := to.make(sub(name)); err != nil {
		return 0, err
	}
	if os.Link(from.file(name), to.file(name)) == nil {
		return source.Size(), nil
	}
	// Another file system, or one without links, or there is a truncated file.
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
