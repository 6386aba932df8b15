package awake_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/awake"
	"github.com/imapi/imapi/internal/await"
)

// stands is set in the process that stands still, to the time for which it does.
const stands = "IMAPI_TEST_STANDS_STILL"

// A limit is not over because the process stood still for longer.
func TestStandingStill(t *testing.T) {
	if text := os.Getenv(stands); text != "" {
		standStill(t, text)
		return
	}
	const still = 1600 * time.Millisecond
	child := exec.Command(os.Args[0], "-test.run=^TestStandingStill$")
	child.Env = append(os.Environ(), stands+"="+still.String())
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	child.Stdout, child.Stderr = out, out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := child.Process.Pid
	var status syscall.WaitStatus
	await.Until(t, "the process stands still or has ended", func() bool {
		got, err := syscall.Wait4(pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got == pid
	})
	if status.Stopped() {
		time.Sleep(still)
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Error("it did not stand still")
	}
	if status.ExitStatus() != 0 {
		said, err := os.ReadFile(out.Name())
		t.Errorf("the process that stood still: status %d\n%s%v", status.ExitStatus(), said, err)
	}
}

// standStill stops this process, which another one continues.
func standStill(t *testing.T, text string) {
	still, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	longest := await.Pauses(t)
	began := time.Now()
	ctx, cancel := awake.WithTimeout(t.Context(), still/2)
	defer cancel()
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for time.Since(began) < still { // the signal may arrive a little later
		if ctx.Err() != nil {
			t.Fatalf("the limit is over after %v, before it stood still", time.Since(began))
		}
	}
	time.Sleep(still / 16) // in which a timer that is due would fire
	if ctx.Err() != nil {
		t.Errorf("the limit is over as soon as the process runs again")
	}
	if noticed := longest(); noticed < still/2 {
		t.Errorf("the longest pause was %v", noticed)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		t.Errorf("it ended by %v", cause)
	}
}
