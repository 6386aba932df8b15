package sqlite

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// busy has readers read all the while and a sender send, with ids from first
// on, until the function that it returns is called, which returns what was sent.
func busy(tb testing.TB, s *Store, list []*secret, first im.ID) (stop func() []*secret) {
	end := make(chan struct{})
	var group sync.WaitGroup
	var reads atomic.Int64
	for n := range 6 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 99))
			for {
				select {
				case <-end:
					return
				default:
				}
				some := make([]*secret, 4)
				erased := make([]bool, len(some))
				for i := range some {
					some[i] = list[random.IntN(len(list))]
					erased[i] = some[i].erased.Load()
				}
				err := s.View(context.Background(), func(r im.Reader) error {
					for i, m := range some {
						if err := m.check(r, erased[i]); err != nil {
							return err
						}
					}
					from := 1 + random.Int64N(int64(len(list)))
					_, err := r.Messages(im.HistoryQuery{Conversation: place, Ranges: []im.SeqRange{{From: from, To: from + 4}}, Limit: 4})
					return err
				})
				if err != nil {
					tb.Error(err)
					return
				}
				reads.Add(1)
			}
		})
	}
	var sent []*secret
	group.Go(func() {
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		random := rand.New(rand.NewPCG(uint64(first), 98))
		for id := first; ; id++ {
			select {
			case <-end:
				return
			case <-pace.C:
			}
			marker := newMarker(random)
			m := &secret{id: id, marker: marker, content: marked(marker, 10+random.IntN(500))}
			if err := s.Write(context.Background(), func(tx im.Tx) error { return insertSecret(tx, m) }); err != nil {
				tb.Error(err)
				return
			}
			sent = append(sent, m)
		}
	})
	return func() []*secret {
		close(end)
		group.Wait()
		tb.Logf("%d reads and %d sends meanwhile", reads.Load(), len(sent))
		if reads.Load() == 0 || len(sent) == 0 {
			tb.Error("nothing went on meanwhile")
		}
		return sent
	}
}

// TestErasedIsGone: while readers read and a sender sends, messages of all
// sizes are erased, oldest first, newest first and at random; soon no file below
// the data directory holds any of what they said, and everything else is there.
func TestErasedIsGone(t *testing.T) {
	const each = 700
	random := rand.New(rand.NewPCG(21, 22))
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "data", "imapi.db"), Options{Synchronous: "normal", ReadLimit: time.Minute})
	makePlace(t, s)
	all := secrets(random, 6*each)
	sendAll(t, s, all)
	traces := newTraces()

	shuffled := slices.Clone(all)
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	byID := func(list []*secret) []*secret {
		slices.SortFunc(list, func(a, b *secret) int { return int(a.id - b.id) })
		return list
	}
	oldest, newest, mixed := byID(shuffled[:each]), byID(shuffled[each:2*each]), shuffled[2*each:3*each]
	slices.Reverse(newest)
	for i, phase := range []struct {
		name string
		list []*secret
	}{{"oldest first", oldest}, {"newest first", newest}, {"at random", mixed}} {
		stop := busy(t, s, all, firstID+im.ID(1_000_000*(i+1)))
		last := eraseAll(t, s, phase.list, traces)
		traces.goneWithin(t, dir, last)
		all = append(all, stop()...)
		held(t, s, all)
		if t.Failed() {
			t.Fatal(phase.name)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found := traces.find(t, dir); len(found) != 0 {
		t.Errorf("after Close: %s", found[0])
	}
	for _, m := range shuffled[3*each:] { // the search does see what is there
		traces.add(m.marker)
	}
	if found := traces.find(t, dir); len(found) < 3*each*8/10 {
		t.Errorf("of the others only %d traces are there", len(found))
	}
}

// TestWhatErasingNeeds: without overwriting, or without emptying the log, what
// was erased is in the files, and the search finds it.
func TestWhatErasingNeeds(t *testing.T) {
	for name, options := range map[string]Options{
		"without overwriting": {wipe: "UPDATE contents SET data = data WHERE id = ?"},
		"without scrubs":      {noScrubs: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			options.Synchronous = "normal"
			s := openAt(t, filepath.Join(dir, "imapi.db"), options)
			makePlace(t, s)
			list := secrets(rand.New(rand.NewPCG(23, 24)), 100)
			sendAll(t, s, list)
			traces := newTraces()
			eraseAll(t, s, list, traces)
			if !options.noScrubs {
				logEmpty(t, s, time.Now())
			}
			whole := 0
			for _, m := range list {
				if m.whole() {
					whole++
				}
			}
			markers := map[string]bool{}
			for _, found := range traces.find(t, dir) {
				markers[found[:len(list[0].marker)]] = true
			}
			if len(markers) != whole || whole < 90 {
				t.Errorf("%d of %d are found", len(markers), whole)
			}
		})
	}
}

// logEmpty waits until the write-ahead log is empty.
func logEmpty(tb testing.TB, s *Store, since time.Time) {
	tb.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		info, err := os.Stat(s.path + "-wal")
		if err == nil && info.Size() == 0 {
			tb.Logf("empty after %v", time.Since(since))
			return
		}
		if time.Since(since) > patience {
			tb.Fatalf("the log is not empty: %v, %v", info, err)
		}
		<-again.C
	}
}
