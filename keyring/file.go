package keyring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// File is a key file as a [Ring] uses it. Tests have implementations that lose unsynced
// writes.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size returns the file's length in bytes.
	Size() (int64, error)
	// Sync returns once all writes are on the disk.
	Sync() error
	// Punch makes a hole, which reads as zeros. Where holes are not supported it does
	// nothing; the pages hold only zeros and codes anyway.
	Punch(offset, length int64) error
}

// osFile is a file of the operating system.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) Punch(offset, length int64) error { return punch(f.File, offset, length) }

// createFile creates a key file atomically: it is written under another name, synced, and
// linked to path.
func createFile(path string, h Header) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(h.page())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link fails if another process has created the file first.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openFile opens a key file, locks it for this process and removes the permissions of other
// users on it.
func openFile(path string) (osFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return osFile{}, err
	}
	if err := lock(f); err != nil {
		return osFile{}, errors.Join(err, f.Close())
	}
	if err := f.Chmod(0o600); err != nil {
		return osFile{}, errors.Join(fmt.Errorf("restrict the permissions of the key file: %w", err), f.Close())
	}
	return osFile{f}, nil
}
