package sqlite

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/sqlite/disktest"
)

// TestFailingDisk: while writes and syncs of the database, its log or the key file fail,
// now and then or for a time, because the disk is full or broken, requests are done or
// refused for that reason. What was acknowledged holds, all along and after a restart, and
// what was erased is shredded once the disk lets it.
func TestFailingDisk(t *testing.T) {
	dir := t.TempDir()
	disk := disktest.New(t, dir)
	s, err := Open(t.Context(), filepath.Join(dir, "imapi.db"), onDisk(disk, dir, Options{log: smallLog}))
	if err != nil {
		t.Fatal(err)
	}
	service := im.NewService(s, im.DefaultPolicy(), nil)
	var all []*speaker
	for n := range 4 {
		w := newSpeaker(t, disk, s, service, n)
		w.refused = map[im.ErrorKind]int{}
		all = append(all, w)
	}
	var rounds atomic.Int64
	enough := make(chan struct{})
	var speakers sync.WaitGroup
	for _, w := range all {
		speakers.Go(func() {
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
		one  bool // in so many
	}
	var faults []fault
	for _, file := range []string{"imapi.db", "imapi.db-wal", "keys", ""} {
		for _, err := range []error{syscall.ENOSPC, syscall.EIO} {
			faults = append(faults, fault{file, err, true}, fault{file, err, false})
		}
	}
	began := time.Now()
	waitUntil := func(what string, happened func() bool) {
		t.Helper()
		for ; !happened() && !t.Failed(); time.Sleep(time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatal(what)
			}
		}
	}
	waitRounds := func(n int64) {
		t.Helper()
		until := rounds.Load() + n
		waitUntil("nothing goes on", func() bool { return rounds.Load() >= until })
	}
	for _, f := range faults {
		var hits atomic.Int64
		disk.Fail(func(op disktest.Op) error {
			if f.file != "" && op.Name != f.file || f.one && rand.IntN(4) > 0 || errors.Is(f.err, syscall.ENOSPC) && op.Kind == disktest.Sync {
				return nil
			}
			hits.Add(1)
			return f.err
		})
		waitRounds(12)
		waitUntil("nothing fails", func() bool { return hits.Load() > 0 })
		disk.Fail(nil)
		waitRounds(4)
	}
	close(enough)
	speakers.Wait()
	refused := map[im.ErrorKind]int{}
	for _, w := range all {
		for kind, n := range w.refused {
			refused[kind] += n
		}
	}
	if refused[im.Full] == 0 || refused[im.Unavailable] == 0 {
		t.Errorf("refused were %v", refused)
	}
	shredded(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	replay := disk.Replay()
	replay.To(replay.Len())
	counts := map[string]int{}
	holdsAfter(t, dir, replay.Marks(), counts)
	t.Logf("refused %v; then there are %v", refused, counts)
}
