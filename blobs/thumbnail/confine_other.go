//go:build unix && !linux

package thumbnail

import (
	"runtime/debug"
	"syscall"
)

// confine lowers the priority of this process, prevents it from writing files and dumping core, and
// makes the garbage collector work harder near a limit of memory. That limit is not enforced: no
// memory limit of these systems suits a garbage-collected program.
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
