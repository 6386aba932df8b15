package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is the file in a data directory that its owner holds locked. It is
// never removed: a lock on a removed file keeps nobody out.
const lockFile = "imapi.lock"

// ErrInUse says that another process owns a data directory.
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
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
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
