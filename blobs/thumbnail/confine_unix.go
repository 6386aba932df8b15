//go:build unix

package thumbnail

import (
	"os/exec"
	"syscall"
	"time"
)

// ownGroup makes a command run in a process group of its own, so that Ctrl-C in a terminal does not
// reach it. The server ends the command.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// cpuUsed returns the processor time that this process has used.
func cpuUsed() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
