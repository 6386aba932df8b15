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

// lockFile is the file in a data directory that its owner holds locked. It is
// never removed: a lock on a removed file keeps nobody out.
const lockFile = "imapi.lock"

// ErrInUse says that another process owns a data directory or a database file.
var ErrInUse = errors.New("in use by another imapi process")

// DirLock is the ownership of a data directory.
type DirLock struct{ file *os.File }

// LockDir makes this process the only owner of a data directory, which must
// exist. It fails at once, with an error that names the directory, if another
// one owns it. The system takes the lock back when the process ends, however
// it ends.
func LockDir(dir string) (*DirLock, error) {
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
	return &DirLock{file: file}, nil
}

// Unlock gives the directory up.
func (l *DirLock) Unlock() error { return l.file.Close() }

func flock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// lockDatabase opens the database file at path, makes it if it is not there, takes
// from others the permission to read it (SQLite gives its log the same), and makes
// this process its only owner, by whatever other name another one opens it: through a
// hard link SQLite itself would look for the write-ahead log in the wrong place, and
// neither would know of the other. It fails with [ErrInUse] in the chain if the file
// has an owner.
//
// The lock is held until the result is closed. That must come after SQLite has closed
// the file, for closing any descriptor of it drops the locks that SQLite has on it.
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
	// SQLite locks the file by fcntl. On Linux the two kinds of locks do not know of
	// each other; on BSD and macOS, and over networks, this one would keep out SQLite.
	// The first byte is one that SQLite never locks.
	probe := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Len: 1}
	if syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &probe) == nil && probe.Type == syscall.F_UNLCK {
		return nil
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_UN); err != nil {
		return fmt.Errorf("cannot be unlocked: %w", err)
	}
	return oneName(file)
}

// oneName refuses a file that has hard links. With one name, and that resolved, the
// lock of its directory is enough.
func oneName(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
		return errors.New("has another name, a hard link: remove one of the two")
	}
	return nil
}

// Resolve returns the path of the file that a path leads to, through symbolic links
// also of the file itself, which need not be there yet. SQLite keeps its log next to
// that file, and the lock belongs there, too. What is renamed to it replaces the file and
// not the link.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // links; more are a circle
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil // nothing of it is there yet
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil // no link: what else is wrong shows when it is opened
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", errors.New("too many symbolic links")
}
