package sqlite

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// crashSecrets are those that the process that crashes has sent and erases, the
// first half in their order.
func crashSecrets() []*secret { return secrets(rand.New(rand.NewPCG(27, 28)), 600) }

// TestErasedIsGoneAfterCrash: a process is killed right after it has answered
// that a message is erased. Once the store is open again, before anyone is
// served, nothing of what was answered for is in any file.
func TestErasedIsGoneAfterCrash(t *testing.T) {
	for _, c := range []struct {
		name   string
		erase  int
		scrubs bool
	}{
		{"at the first", 1, true},
		{"after a few", 25, true},
		{"within a scrub or between two", 290, true},
		{"before any scrub", 25, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "imapi.db")
			list := crashSecrets()
			traces := newTraces()
			for _, m := range list[:crashAfter(t, path, c.erase, c.scrubs)] {
				m.erased.Store(true)
				traces.add(m.marker)
			}
			if found := traces.find(t, dir); !c.scrubs && len(found) == 0 {
				t.Error("the crash left nothing to be wiped")
			}
			s, err := Open(t.Context(), path, Options{Synchronous: "normal", ReadLimit: time.Minute, Logger: quiet})
			found := traces.find(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			if len(found) != 0 {
				t.Errorf("%d traces are left, such as %s", len(found), found[0])
			}
			held(t, s, list)
		})
	}
}

// crashAfter runs a process that erases and kills it when it has answered for
// so many; it returns for how many it has.
func crashAfter(t *testing.T, path string, erase int, scrubs bool) (answered int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestEraseCrashHelper$")
	cmd.Env = append(os.Environ(), "IMAPI_TEST_ERASE_CRASH="+path, fmt.Sprint("IMAPI_TEST_SCRUBS=", scrubs))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for answered < erase && lines.Scan() {
		answered++
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what it had said by then
		answered++
	}
	_ = cmd.Wait() // killed, it says
	if answered < erase {
		t.Fatalf("it ended after %d", answered)
	}
	return answered
}

// TestEraseCrashHelper is the process that crashes, not a test of its own. It
// says a line for each message that was erased.
func TestEraseCrashHelper(t *testing.T) {
	path := os.Getenv("IMAPI_TEST_ERASE_CRASH")
	if path == "" {
		return
	}
	s := openAt(t, path, Options{Synchronous: "normal", noScrubs: os.Getenv("IMAPI_TEST_SCRUBS") != "true"})
	makePlace(t, s)
	list := crashSecrets()
	sendAll(t, s, list)
	for _, m := range list[:len(list)/2] {
		if err := eraseSecret(s, m); err != nil {
			t.Fatal(err)
		}
		fmt.Println(m.id)
	}
	select {} // until it is killed
}
