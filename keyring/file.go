package keyring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// File is a key file as a [Ring] needs it. Tests have some whose unsynced writes can be
// lost.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size returns its length in bytes.
	Size() (int64, error)
	// Sync returns once what was written is on the disk.
	Sync() error
	// Punch makes a hole, which reads as zeros. Where that is not supported it does
	// nothing: the pages are zeros and codes already.
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

// createFile makes a key file that is whole or not there: it is written under another
// name, synced, and renamed.
func createFile(path string, h Header) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // of mode 0600
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
	// A link and not a rename: it fails if another process was first.
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

// openFile opens a key file for this process alone, and keeps it from other users.
func openFile(path string) (osFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return osFile{}, err
	}
	if err := lock(f); err != nil {
		return osFile{}, errors.Join(err, f.Close())
	}
	if err := f.Chmod(0o600); err != nil {
		return osFile{}, errors.Join(fmt.Errorf("keep the key file from other users: %w", err), f.Close())
	}
	return osFile{f}, nil
}
