package sqlite

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// BenchmarkReclaim measures what senders notice while 100,000 wiped rows are
// given back: how long 99 of 100 sends take at most, durable ones, of four
// senders, before and meanwhile.
func BenchmarkReclaim(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		b.StopTimer()
		s := openNew(b, Options{})
		makePlace(b, s)
		fill := secrets(rand.New(rand.NewPCG(61, 62)), 100)
		err := s.Write(context.Background(), func(w im.Tx) error {
			t := w.(*tx)
			ids := make([]int64, 0, n)
			for i := range n {
				m := fill[i%len(fill)]
				id, err := t.insertContent(m.content.Sent[:min(len(m.content.Sent), 4096)])
				if err != nil {
					return err
				}
				if i%1000 != 0 { // one that stays
					ids = append(ids, id)
				}
			}
			return t.wipeAll(ids)
		})
		if err != nil {
			b.Fatal(err)
		}
		logEmpty(b, s, time.Now())
		next := firstID
		p99 := func(until <-chan struct{}) time.Duration {
			took := sendUntil(b, s, next, until)
			next += 1 << 30
			slices.Sort(took)
			return took[len(took)*99/100]
		}
		quiet := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(quiet) })
		alone := p99(quiet)
		ended := make(chan struct{})
		rows, pages := counts(b, s)
		b.StartTimer()
		go func() {
			defer close(ended)
			if err := s.Reclaim(context.Background()); err != nil {
				b.Error(err)
			}
		}()
		meanwhile := p99(ended)
		b.ReportMetric(float64(alone.Microseconds())/1000, "alone-p99-ms")
		b.ReportMetric(float64(meanwhile.Microseconds())/1000, "meanwhile-p99-ms")
		b.StopTimer()
		rowsLeft, pagesLeft := counts(b, s) // with what was sent meanwhile
		b.Logf("%d rows and %d pages became %d and %d", rows, pages, rowsLeft, pagesLeft)
		b.StartTimer()
	}
}

// sendUntil has four senders send and returns how long each send took.
func sendUntil(b *testing.B, s *Store, first im.ID, until <-chan struct{}) (took []time.Duration) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-until:
					return
				default:
				}
				mu.Lock()
				id := first
				first++
				mu.Unlock()
				began := time.Now()
				m := &secret{id: id, content: marked("a marker", 200)}
				if err := s.Write(context.Background(), func(w im.Tx) error { return insertSecret(w, m) }); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return took
}
