package sqlite

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// corpus is a set of messages, a tenth of them in one conversation and the rest in 999 others.
// Corpora of all sizes have the same number of messages with the rare word, and the same fraction
// with the common word and the two characters.
type corpus struct {
	*searchFixture
	texts *textGenerator
	last  im.ID
	n     int
}

const (
	corpusConversations = 1000
	rareWord            = "quixotically"
	rarePair            = "饕餮"
	commonPair          = "上海"
)

func newCorpus(tb testing.TB) *corpus {
	return &corpus{searchFixture: newSearchFixture(tb, corpusConversations, Options{Synchronous: "normal"}), texts: newTextGenerator(61), last: im.FirstID(fromMillis(1.7e12))}
}

// next returns the next message.
func (l *corpus) next() im.Message {
	l.n++
	l.last += im.ID(10_000_000 + l.texts.random.IntN(200_000_000))
	conversation := im.ID(1)
	if l.n%10 != 0 {
		conversation = 2 + im.ID(l.texts.random.IntN(corpusConversations-1))
	}
	words := l.texts.text()
	switch {
	case l.n%50 < 3 || l.n%100 == 10:
		words += " 我在" + commonPair + "等你"
	case l.n%1000 == 520 && l.n <= 10_000:
		words += " " + rareWord + " " + rarePair
	}
	return text(conversation, l.last, words)
}

// fill stores messages until there are n.
func (l *corpus) fill(n int) {
	for l.n < n {
		l.write(func(tx *tx) error {
			for range min(1000, n-l.n) {
				if _, err := tx.InsertMessage(l.next()); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// BenchmarkSearch measures a page of 20 results in 10^4 and 10^6 messages, and their ratio.
func BenchmarkSearch(b *testing.B) {
	l := newCorpus(b)
	small := map[string]float64{}
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			l.fill(n)
			l.waitIndexed()
			for _, words := range []struct{ name, words string }{
				{"common", l.texts.words[0]},
				{"rare", rareWord},
				{"none", "zzzyzx"},
				{"pair", commonPair},
				{"rare pair", rarePair},
				{"character", "海"},
				{"beginning", l.texts.words[0][:2]},
				{"two", l.texts.words[0] + " " + l.texts.words[1]},
			} {
				for _, in := range []struct {
					name string
					list []im.ID
				}{{"one", l.conversations[:1]}, {"all", l.conversations}} {
					name := words.name + "/" + in.name
					b.Run(name, func(b *testing.B) {
						q := im.SearchQuery{Words: words.words, Conversations: in.list, Limit: 20}
						var page im.SearchPage
						began := processorTime(b)
						for b.Loop() {
							err := l.View(context.Background(), func(r im.Reader) (err error) {
								page, err = r.Search(q)
								return err
							})
							if err != nil {
								b.Fatal(err)
							}
						}
						each := float64((processorTime(b) - began).Nanoseconds()) / float64(b.N)
						b.ReportMetric(each/1000, "cpu-µs")
						b.ReportMetric(float64(len(page.Hits)), "hits")
						if before := small[name]; before > 0 && n > 10_000 {
							b.ReportMetric(each/before, "of-10^4")
						} else {
							small[name] = each
						}
					})
				}
			}
		})
	}
}

// BenchmarkReindex measures comparing the search index with a database of 10^5 messages, as
// after a crash, and rebuilding it.
func BenchmarkReindex(b *testing.B) {
	const n = 100_000
	l := newCorpus(b)
	l.fill(n)
	l.waitIndexed()
	b.Run("compare", func(b *testing.B) {
		began := processorTime(b)
		for b.Loop() {
			l.Store.index.VerifyAll()
			l.waitIndexed()
		}
		b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/1000/float64(b.N)/n, "cpu-µs/msg")
	})
	b.Run("rebuild", func(b *testing.B) {
		began := processorTime(b)
		for b.Loop() {
			if err := l.Reindex(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/1000/float64(b.N)/n, "cpu-µs/msg")
	})
}

// processorTime returns the processor time of this process, which other processes affect less than
// the elapsed time.
func processorTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
