package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imapi/imapi/im"
)

// crashSecrets returns the messages that the crashing process sends. It erases the first
// half, in order.
func crashSecrets() []*secret { return secrets(rand.New(rand.NewPCG(27, 28)), 600) }

// TestErasedAfterCrash kills a process right after it has acknowledged an erasure. When the
// store is open again, the keys of all acknowledged erasures must be shredded.
func TestErasedAfterCrash(t *testing.T) {
	for name, erase := range map[string]int{"first erasure": 1, "after 25 erasures": 25, "after 290 erasures": 290} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "imapi.db")
			list := crashSecrets()
			traces := newTraces()
			for _, m := range list {
				traces.add(m.marker)
			}
			for _, m := range list[:len(killAfter(t, "TestEraseCrashHelper", "IMAPI_TEST_ERASE_CRASH="+path, erase))] {
				m.erased.Store(true)
			}
			traces.checkAbsent(t, dir)
			s := openAt(t, path, Options{Synchronous: "normal"})
			traces.checkAbsent(t, dir)
			checkSecrets(t, s, list)
			err := s.View(t.Context(), func(r im.Reader) error {
				var noted int
				session := r.(*reader).session
				if _, err := session.row("SELECT count(*) FROM doomed", nil, &noted); err != nil || noted != 0 {
					t.Errorf("%d keys remain to be shredded, %v", noted, err)
				}
				n := 0
				err := session.query("SELECT slot FROM messages WHERE state = 2", nil, func(rows row) (bool, error) {
					var slot im.Slot
					if err := rows.Scan(&slot); err != nil {
						return false, err
					}
					n++
					key, err := s.sealer.keys.Key(slot)
					if !errors.As(err, new(*im.ShreddedError)) {
						t.Errorf("slot %d has a key: %v, %v", slot, key != im.Key{}, err)
					}
					return true, nil
				})
				if n < erase {
					t.Errorf("%d messages are tombstones, want at least %d", n, erase)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// killAfter runs a test in a separate process and kills it after it has printed a number of
// lines. It returns the lines.
func killAfter(t *testing.T, test, env string, count int) (printed []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for len(printed) < count && lines.Scan() {
		printed = append(printed, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // lines that were printed before the kill
		printed = append(printed, lines.Text())
	}
	_ = cmd.Wait() // the error is the kill
	if len(printed) < count {
		t.Fatalf("the process ended after %d lines", len(printed))
	}
	return printed
}

// TestEraseCrashHelper is the process that is killed. It prints a line for each erased
// message.
func TestEraseCrashHelper(t *testing.T) {
	path := os.Getenv("IMAPI_TEST_ERASE_CRASH")
	if path == "" {
		return
	}
	s := openAt(t, path, Options{Synchronous: "normal"})
	createConversation(t, s)
	list := crashSecrets()
	sendAll(t, s, list)
	for _, m := range list[:len(list)/2] {
		if err := eraseSecret(s, m); err != nil {
			t.Fatal(err)
		}
		fmt.Println(m.id)
	}
	select {} // wait for the kill
}
