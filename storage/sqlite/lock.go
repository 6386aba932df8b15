package sqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is the file in a data directory that its owner locks. It is never deleted, because a
// lock on a deleted file would not exclude other processes.
const lockFile = "imapi.lock"

// ErrInUse reports that another process owns a data directory or a database file.
var ErrInUse = errors.New("in use by another imapi process")

// dirLock is the lock of a data directory.
type dirLock struct{ file *os.File }

// lockDir locks an existing data directory for this process. It does not wait: if another
// process has the lock, it fails with [ErrInUse] in the chain and names the directory. The
// system releases the lock when the process ends.
func lockDir(dir string) (*dirLock, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := flock(file); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data directory %s is %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
	}
	return &dirLock{file: file}, nil
}

// unlock releases the lock.
func (l *dirLock) unlock() error { return l.file.Close() }

func flock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// lockDatabase opens or creates the database file at path, restricts its permissions
// (SQLite gives the same to its log), and locks it for this process. The lock holds for all
// names of the file: through a hard link, SQLite would look for the write-ahead log in the
// wrong place, and two processes would not notice each other. Where such a lock would keep SQLite
// out, the file is left unlocked, and refused if it has several names. The error has [ErrInUse] in
// its chain if the file is locked.
//
// Closing the result releases the lock. Close it after SQLite has closed the file, because closing
// any descriptor of a file releases SQLite's locks on it.
func lockDatabase(path string) (io.Closer, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := ownDatabase(file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("the database %s %w", path, err)
	}
	return file, nil
}

func ownDatabase(file *os.File) error {
	if err := file.Chmod(0o600); err != nil {
		return fmt.Errorf("cannot be made private: %w", err)
	}
	switch err := flock(file); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("is %w", ErrInUse)
	case err != nil:
		return fmt.Errorf("cannot be locked: %w", err)
	}
	// SQLite locks the file with fcntl. On Linux, flock and fcntl locks are independent; on
	// BSD, macOS and network file systems this lock would keep SQLite out. SQLite never locks the
	// first byte, so a lock on that byte is this one, and would keep SQLite out.
	probe := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Len: 1}
	if syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &probe) == nil && probe.Type == syscall.F_UNLCK {
		return nil
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_UN); err != nil {
		return fmt.Errorf("cannot be unlocked: %w", err)
	}
	return oneName(file)
}

// oneName returns an error if a file has more than one hard link. If it has only one, the lock of
// its directory is sufficient.
func oneName(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("cannot be examined: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
		return errors.New("has more than one hard link: delete all but one")
	}
	return nil
}

// Resolve returns the file that a path leads to, following all symbolic links, including
// one at the path itself. The file need not exist. SQLite keeps its log beside that file,
// and the lock belongs there as well. A file renamed to the result replaces the file, not
// the link.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // a longer chain of links is taken for a cycle
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil // the directory does not exist yet
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // not a link; any other error appears when it is opened
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", errors.New("too many symbolic links")
}

// lockBackups locks the directory against other backups.
func lockBackups(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock(d); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errBackupInUse
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), d.Close())
	}
	return func() { _ = d.Close() }, nil
}
