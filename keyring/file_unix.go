//go:build unix

package keyring

import (
	"errors"
	"os"
	"syscall"
)

// lock locks the file for this process, under any of its names, until it is closed. The
// error is [ErrInUse] if another process has locked it.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}
