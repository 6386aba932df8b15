package sqlite

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
)

// runLoad runs readers and a sender, whose ids start at first, until the returned function is
// called, which returns the sent messages.
func runLoad(tb testing.TB, s *Store, list []*secret, first im.ID) (stop func() []*secret) {
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
					_, err := r.Messages(im.HistoryQuery{Conversation: testConversation, Ranges: []im.SeqRange{{From: from, To: from + 4}}, Limit: 4})
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
		tb.Logf("%d concurrent reads and %d sends", reads.Load(), len(sent))
		if reads.Load() == 0 || len(sent) == 0 {
			tb.Error("there were no concurrent reads or sends")
		}
		return sent
	}
}

// TestErasedCannotBeUnsealed erases messages of all sizes in different orders while readers
// read and a sender sends. No file may ever contain content, and exactly the keys of erased
// messages must be shredded.
func TestErasedCannotBeUnsealed(t *testing.T) {
	each := testsize.Pick(700, 150)
	random := rand.New(rand.NewPCG(21, 22))
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "data", "imapi.db"), Options{Synchronous: "normal", ReadLimit: time.Minute})
	step := steps.Begin(t)
	step("send")
	createConversation(t, s)
	all := secrets(random, 6*each)
	sendAll(t, s, all)
	traces := newTraces()
	for _, m := range all {
		traces.add(m.marker)
	}
	traces.checkAbsent(t, dir)
	before := sealedOf(t, s)

	step("erase under load")
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
		stop := runLoad(t, s, all, firstID+im.ID(1_000_000*(i+1)))
		eraseAll(t, s, phase.list)
		waitShredded(t, s)
		all = append(all, stop()...)
		checkSecrets(t, s, all)
		if t.Failed() {
			t.Fatal(phase.name)
		}
	}
	step("erased content cannot be unsealed, other content can")
	traces.checkAbsent(t, dir)
	for _, m := range shuffled {
		row := before[m.id]
		content, err := (&reader{sealer: s.sealer}).unseal(row.slot, row.sealed)
		if m.erased.Load() {
			if shredded := (*im.ShreddedError)(nil); !errors.As(err, &shredded) || shredded.Code != im.ShredRevoked {
				t.Fatalf("the content of erased message %v can be unsealed: %q, %v", m.id, content, err)
			}
		} else if err != nil || !bytes.Equal(content, m.content.Sent) {
			t.Fatalf("the content of message %v cannot be unsealed: %v", m.id, err)
		}
	}
	step("no file has a trace of it")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	traces.checkAbsent(t, dir)
}

// sealedRow is the sealed content of a row.
type sealedRow struct {
	slot   int64
	sealed []byte
}

// sealedOf returns the sealed content of all active messages.
func sealedOf(tb testing.TB, s *Store) map[im.ID]sealedRow {
	tb.Helper()
	all := map[im.ID]sealedRow{}
	err := s.View(context.Background(), func(r im.Reader) error {
		return r.(*reader).session.query("SELECT id, slot, sealed FROM messages WHERE state = 1", nil, func(rows row) (bool, error) {
			var id im.ID
			var row sealedRow
			err := rows.Scan(&id, &row.slot, &row.sealed)
			all[id] = row
			return true, err
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// waitShredded waits until the keys of all erased content are shredded and their notes
// deleted.
func waitShredded(tb testing.TB, s *Store) {
	tb.Helper()
	began := time.Now()
	await.Until(tb, "all keys are shredded and no notes remain", func() bool {
		waiting, _ := s.Unshredded()
		noted := 0
		err := s.View(context.Background(), func(r im.Reader) error {
			_, err := r.(*reader).session.row("SELECT count(*) FROM doomed", nil, &noted)
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
		return waiting == 0 && noted == 0
	})
	tb.Logf("shredded after %v", time.Since(began))
}
