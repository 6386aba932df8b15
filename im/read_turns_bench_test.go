package im_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// BenchmarkReadsBesideSearches measures a page of history by itself, and while another user runs 16
// parallel searches without pause. In all/… one user has all readers.
func BenchmarkReadsBesideSearches(b *testing.B) {
	w := newWorld(b)
	big := &builder{world: w}
	var mine im.ID
	big.write(func(tx im.Tx) { mine = big.make(tx, im.Conversation{Kind: im.Group}, "alice", "mallory") })
	for range 40 {
		big.write(func(tx im.Tx) {
			for n := range 500 {
				big.say(tx, mine, fmt.Sprintf("common words %d", n))
			}
		})
	}
	for _, each := range []struct {
		name string
		most int
	}{{"half", 0}, {"all", 4}} {
		for _, searches := range []int{0, 16} {
			b.Run(fmt.Sprintf("%s/searches=%d", each.name, searches), func(b *testing.B) {
				policy := im.DefaultPolicy()
				policy.ReadsPerUser, policy.ReadWait = each.most, time.Minute
				s := im.NewService(w.store, policy, w.clock)
				stop := make(chan struct{})
				var searching sync.WaitGroup
				for range searches {
					searching.Go(func() {
						ctx := im.WithCaller(w.ctx, im.Caller{User: "mallory"})
						for {
							select {
							case <-stop:
								return
							default:
							}
							_, err := s.Search(ctx, as("mallory"), im.SearchFilter{Words: "common words", Limit: 200})
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				ctx := im.WithCaller(w.ctx, im.Caller{User: "alice"})
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					if _, err := s.Messages(ctx, as("alice"), byID(mine), im.HistoryFilter{Limit: 50}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began))
				}
				close(stop)
				searching.Wait()
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
			})
		}
	}
}
