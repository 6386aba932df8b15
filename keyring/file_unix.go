//go:build unix

package keyring

import (
	"errors"
	"os"
	"syscall"
)

// lock locks the file f, under any of its names, until f is closed. The error is [ErrInUse] if the
// file is locked already.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}
