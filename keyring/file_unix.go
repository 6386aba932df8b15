//go:build unix

package keyring

import (
	"errors"
	"os"
	"syscall"
)

// lock keeps other processes from the file, whatever they call it, until it is closed.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}
