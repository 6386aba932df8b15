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

// BenchmarkIndex measures what messages of ten words cost the index: to be put into it, a
// million of them; to be taken out, a few and many, of anywhere; to be compared with the
// database after a crash; and to be put into it anew. It reports processor time, and what
// was written, for each message.
func BenchmarkIndex(b *testing.B) {
	const n = 1_000_000
	l := newLibrary(b, Options{FlushAt: flushAt})
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
	b.Run("put", func(b *testing.B) {
		list := make([]map[int64]said, 0, n/1000)
		for id := int64(1); id < n; id += 1000 {
			part := map[int64]said{}
			for i := range int64(1000) {
				part[id+i] = said{conversation: 1 + random.Int64N(1000), words: text()}
			}
			list = append(list, part)
		}
		b.ResetTimer()
		measure(b, n, func() {
			for _, part := range list {
				l.say(part)
				for l.State().Waiting > most/2 { // an import is not quicker
					time.Sleep(time.Millisecond)
				}
			}
			l.settled()
		})
		info, err := os.Stat(l.path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/n, "B/msg")
	})
	gone := random.Perm(n)
	for _, take := range []int{1, 100, 5000, 25_000, 100_000} {
		b.Run(fmt.Sprintf("take=%d", take), func(b *testing.B) {
			ids := make([]int64, take)
			for i, id := range gone[:take] {
				ids[i] = int64(id) + 1
			}
			gone = gone[take:]
			measure(b, take, func() {
				l.erase(ids...)
				l.settled()
			})
		})
	}
	b.Run("compare", func(b *testing.B) {
		measure(b, len(l.there), func() {
			l.Doubt()
			l.settled()
		})
	})
	b.Run("anew", func(b *testing.B) {
		measure(b, len(l.there), func() {
			if err := l.Reindex(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// processorTime is what this process has used.
func processorTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// written is how many bytes this process has written to files.
func written(tb testing.TB) (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		tb.Skip("there is no /proc/self/io here")
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	return 0
}
