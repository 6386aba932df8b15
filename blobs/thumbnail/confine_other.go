//go:build unix && !linux

package thumbnail

import (
	"runtime/debug"
	"syscall"
)

// confine makes this process one of low priority that cannot write files or dump its memory.
// These systems have no limit of memory that a program with a garbage collector can keep.
func confine() error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10); err != nil {
		return err
	}
	debug.SetMemoryLimit(MaxMemory + 3*MaxBytes)
	for _, what := range []int{syscall.RLIMIT_FSIZE, syscall.RLIMIT_CORE} {
		if err := syscall.Setrlimit(what, &syscall.Rlimit{}); err != nil {
			return err
		}
	}
	return nil
}
