package thumbnail

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

const (
	// niceness leaves thumbnails about a tenth of a processor that the server and its clients keep
	// busy.
	niceness = 10
	// softMemory is the memory, in bytes, above which the garbage collector runs more often.
	// Decoding takes up to MaxMemory, and the file and its copy for the decoder up to twice
	// MaxBytes. The rest is for the process itself.
	softMemory = MaxMemory + 3*MaxBytes
	// hardMemory is how many bytes of memory the process may allocate in addition to what it has
	// when it is confined. It dies if it exceeds that.
	hardMemory = softMemory + 512<<20
)

// confine lowers the priority of this process and limits its memory. It also prevents the process
// from writing files and dumping core.
func confine() error {
	if err := lowerPriority(); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	debug.SetMemoryLimit(softMemory)
	before, err := dataBytes()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		what  int
		limit uint64
	}{
		{syscall.RLIMIT_DATA, before + hardMemory},
		{syscall.RLIMIT_FSIZE, 0},
		{syscall.RLIMIT_CORE, 0},
	} {
		if err := syscall.Setrlimit(l.what, &syscall.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("limit resource %d to %d: %w", l.what, l.limit, err)
		}
	}
	return nil
}

// lowerPriority lowers the priority of all threads, each of which has its own. Threads that
// begin later inherit it. A thread may begin in the meantime, so lowerPriority repeats until there
// are no new threads.
func lowerPriority() error {
	low := map[int]bool{}
	for found := true; found; {
		found = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if low[id] {
				continue
			}
			// The system call returns 20 less the niceness. A server that has a lower
			// priority already must not get a higher one.
			if now, err := syscall.Getpriority(syscall.PRIO_PROCESS, id); err == nil && 20-now >= niceness {
				low[id] = true
				continue
			}
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			low[id], found = true, true
		}
	}
	return nil
}

// dataBytes returns the memory that counts towards RLIMIT_DATA, in bytes. Much of it is only
// reserved.
func dataBytes() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 6 {
		return 0, fmt.Errorf("/proc/self/statm has %d fields", len(fields))
	}
	pages, err := strconv.ParseUint(fields[5], 10, 64)
	return pages * uint64(os.Getpagesize()), err
}
