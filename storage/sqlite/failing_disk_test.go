package sqlite

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/storage/sqlite/disktest"
)

// TestFailingDisk makes writes and syncs of the database, its log and the key file fail, sometimes
// or for a while, because the disk is full or broken. Requests must succeed or be refused for that
// reason. Everything acknowledged must persist, before and after a restart, and the keys of erased
// content must be shredded once the disk works.
func TestFailingDisk(t *testing.T) {
	dir := t.TempDir()
	step := steps.Begin(t)
	step("clients send and erase while the disk fails")
	disk := disktest.New(t, dir)
	s, err := Open(t.Context(), filepath.Join(dir, "imapi.db"), onDisk(disk, dir, Options{log: smallLog}))
	if err != nil {
		t.Fatal(err)
	}
	service := im.NewService(s, im.DefaultPolicy(), nil)
	var all []*loadClient
	for n := range 4 {
		w := newLoadClient(t, disk, s, service, n)
		w.refused = map[im.ErrorKind]int{}
		all = append(all, w)
	}
	var rounds atomic.Int64
	enough := make(chan struct{})
	var clients sync.WaitGroup
	for _, w := range all {
		clients.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
					w.round()
					rounds.Add(1)
				}
			}
		})
	}
	type fault struct {
		file string
		err  error
		some bool // only some operations fail
	}
	var faults []fault
	for _, file := range []string{"imapi.db", "imapi.db-wal", "keys", ""} {
		for _, err := range []error{syscall.ENOSPC, syscall.EIO} {
			faults = append(faults, fault{file, err, true}, fault{file, err, false})
		}
	}
	waitRounds := func(n int64) {
		t.Helper()
		target := rounds.Load() + n
		await.Until(t, "the clients have made progress", func() bool { return t.Failed() || rounds.Load() >= target })
	}
	for _, f := range faults {
		var hits atomic.Int64
		disk.Fail(func(op disktest.Op) error {
			if f.file != "" && op.Name != f.file || f.some && rand.IntN(4) > 0 || errors.Is(f.err, syscall.ENOSPC) && op.Kind == disktest.Sync {
				return nil
			}
			hits.Add(1)
			return f.err
		})
		waitRounds(testsize.Pick[int64](12, 5))
		await.Until(t, "an operation has failed", func() bool { return t.Failed() || hits.Load() > 0 })
		disk.Fail(nil)
		waitRounds(testsize.Pick[int64](4, 2))
	}
	step("requests were refused for both reasons")
	close(enough)
	clients.Wait()
	refused := map[im.ErrorKind]int{}
	for _, w := range all {
		for kind, n := range w.refused {
			refused[kind] += n
		}
	}
	if refused[im.Full] == 0 || refused[im.Unavailable] == 0 {
		t.Errorf("refused requests: %v, want some of both kinds", refused)
	}
	step("all keys are shredded")
	waitShredded(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	step("everything acknowledged is stored after a restart")
	replay := disk.Replay()
	replay.To(replay.Len())
	counts := map[string]int{}
	checkAfterCut(t, dir, replay.Marks(), counts)
	t.Logf("refused: %v; state at the end: %v", refused, counts)
}
