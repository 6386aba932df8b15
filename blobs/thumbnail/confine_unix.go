//go:build unix

package thumbnail

import (
	"os/exec"
	"syscall"
	"time"
)

// ownGroup keeps signals of a terminal from a command: the server ends it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// cpuUsed returns how much time of the processor this process has used.
func cpuUsed() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
