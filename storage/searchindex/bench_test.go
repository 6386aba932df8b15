package searchindex

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkIndex measures the cost of messages of ten words in the index: adding a million
// of them, deleting few and many at random, comparing with the database after a crash, and
// rebuilding. It reports processor time and bytes written per message.
func BenchmarkIndex(b *testing.B) {
	const n = 1_000_000
	l := newFixture(b, Options{FlushAt: flushAt})
	random := rand.New(rand.NewPCG(8, 75))
	words := make([]string, 20_000)
	for i := range words {
		words[i] = fmt.Sprintf("%c%c%c%d", 'a'+random.IntN(26), 'a'+random.IntN(26), 'a'+random.IntN(26), random.IntN(1000))
	}
	zipf := rand.NewZipf(random, 1.1, 4, 19_999)
	text := func() string {
		var s strings.Builder
		for range 6 + random.IntN(9) {
			s.WriteString(words[zipf.Uint64()])
			s.WriteByte(' ')
		}
		return s.String()
	}
	measure := func(b *testing.B, n int, fn func()) {
		cpu, wrote, began := processorTime(b), written(b), time.Now()
		fn()
		took := time.Since(began)
		b.ReportMetric(float64((processorTime(b)-cpu).Nanoseconds())/1000/float64(n), "cpu-µs/msg")
		b.ReportMetric(float64(written(b)-wrote)/float64(n), "B-written/msg")
		b.ReportMetric(float64(n)/took.Seconds(), "msg/s")
	}
	b.Run("add", func(b *testing.B) {
		list := make([]map[int64]message, 0, n/1000)
		for id := int64(1); id < n; id += 1000 {
			part := map[int64]message{}
			for i := range int64(1000) {
				part[id+i] = message{conversation: 1 + random.Int64N(1000), words: text()}
			}
			list = append(list, part)
		}
		b.ResetTimer()
		measure(b, n, func() {
			for _, part := range list {
				l.commit(part)
				for l.State().Waiting > maxItems/2 { // not faster than an import
					time.Sleep(time.Millisecond)
				}
			}
			l.waitIdle()
		})
		info, err := os.Stat(l.path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/n, "B/msg")
	})
	order := random.Perm(n)
	for _, count := range []int{1, 100, 5000, 25_000, 100_000} {
		b.Run(fmt.Sprintf("delete=%d", count), func(b *testing.B) {
			ids := make([]int64, count)
			for i, id := range order[:count] {
				ids[i] = int64(id) + 1
			}
			order = order[count:]
			measure(b, count, func() {
				l.erase(ids...)
				l.waitIdle()
			})
		})
	}
	b.Run("compare", func(b *testing.B) {
		measure(b, len(l.messages), func() {
			l.VerifyAll()
			l.waitIdle()
		})
	})
	b.Run("rebuild", func(b *testing.B) {
		measure(b, len(l.messages), func() {
			if err := l.Reindex(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// processorTime returns the processor time that this process has used.
func processorTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// written returns the number of bytes that this process has written to files.
func written(tb testing.TB) (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		tb.Skip("/proc/self/io does not exist")
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	return 0
}
