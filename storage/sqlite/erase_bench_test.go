package sqlite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkErase measures erasures by 32 concurrent callers, and the median and the 99th percentile
// of the delay between a commit and the shredding of its key, for the longest delay of each batch.
func BenchmarkErase(b *testing.B) {
	var mu sync.Mutex
	var delays []time.Duration
	s := openNew(b, Options{ObserveShred: func(stats ShredStats) {
		mu.Lock()
		defer mu.Unlock()
		delays = append(delays, stats.Delay)
	}})
	createConversation(b, s)
	some := secrets(rand.New(rand.NewPCG(71, 72)), 100)
	next := firstID
	for b.Loop() {
		b.StopTimer()
		list := make([]*secret, 2000)
		for i := range list {
			list[i] = &secret{id: next, content: some[i%len(some)].content}
			next++
		}
		sendAll(b, s, list)
		b.StartTimer()
		var at atomic.Int64
		var group sync.WaitGroup
		for range 32 {
			group.Go(func() {
				for i := at.Add(1) - 1; i < int64(len(list)); i = at.Add(1) - 1 {
					if err := eraseSecret(s, list[i]); err != nil {
						b.Error(err)
					}
				}
			})
		}
		group.Wait()
	}
	waitShredded(b, s)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(delays)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N*2000)/b.Elapsed().Seconds(), "erased/s")
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(delays[len(delays)*p/100].Microseconds())/1000, fmt.Sprintf("shred-p%d-ms", p))
	}
}
