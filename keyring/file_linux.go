package keyring

import (
	"errors"
	"os"
	"syscall"
)

// syncData is fdatasync(2): it syncs the content, and the length if it has changed.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE of fallocate(2).
const punchHole = 0x1 | 0x2

func punch(f *os.File, offset, length int64) error {
	err := syscall.Fallocate(int(f.Fd()), punchHole, offset, length)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}
