package sqlite

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imapi/imapi/im"
)

// crashSecrets are those that the process that crashes has sent and erases, the
// first half in their order.
func crashSecrets() []*secret { return secrets(rand.New(rand.NewPCG(27, 28)), 600) }

// TestErasedIsGoneAfterCrash: a process is killed right after it has answered that a
// message is erased. Once the store is open again, before anyone is served, the keys of
// all that was answered for are shredded.
func TestErasedIsGoneAfterCrash(t *testing.T) {
	for name, erase := range map[string]int{"at the first": 1, "after a few": 25, "within a batch or between two": 290} {
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
			traces.nowhere(t, dir)
			s := openAt(t, path, Options{Synchronous: "normal"})
			traces.nowhere(t, dir)
			held(t, s, list)
			err := s.View(t.Context(), func(r im.Reader) error {
				var noted int
				session := r.(*reader).session
				if _, err := session.row("SELECT count(*) FROM doomed", nil, &noted); err != nil || noted != 0 {
					t.Errorf("%d keys are noted as to be shredded, %v", noted, err)
				}
				n := 0
				err := session.query("SELECT slot FROM messages WHERE state = 2", nil, func(rows *sql.Rows) (bool, error) {
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
					t.Errorf("%d are tombstones, of %d", n, erase)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// killAfter runs a test in a process of its own and kills it when it has said so many
// lines; it returns what it said.
func killAfter(t *testing.T, test, env string, most int) (said []string) {
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
	for len(said) < most && lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what it had said by then
		said = append(said, lines.Text())
	}
	_ = cmd.Wait() // killed, it says
	if len(said) < most {
		t.Fatalf("it ended after %d", len(said))
	}
	return said
}

// TestEraseCrashHelper is the process that crashes, not a test of its own. It
// says a line for each message that was erased.
func TestEraseCrashHelper(t *testing.T) {
	path := os.Getenv("IMAPI_TEST_ERASE_CRASH")
	if path == "" {
		return
	}
	s := openAt(t, path, Options{Synchronous: "normal"})
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
