package blobs

import (
	"os"
	"syscall"
)

// syncFileRangeWrite makes sync_file_range start writing and not wait for it.
const syncFileRangeWrite = 2

// startWriteback makes the system start to write a range of a file to the disk, so that a sync
// has less to wait for. It is a hint: an error, as of a file system without it, changes nothing.
func startWriteback(f *os.File, offset, length int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), offset, length, syncFileRangeWrite)
}
