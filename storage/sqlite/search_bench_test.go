package sqlite

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// library is a corpus to search: a tenth of it in one conversation, the rest in
// 999 others. As many messages of each size have the rare word, and the same
// part of them the common one and the two characters.
type library struct {
	*talk
	says *speech
	last im.ID
	n    int
}

const (
	libraryConversations = 1000
	rareWord             = "quixotically"
	rarePair             = "饕餮"
	commonPair           = "上海"
)

func newLibrary(tb testing.TB) *library {
	return &library{talk: newTalk(tb, libraryConversations, Options{Synchronous: "normal"}), says: newSpeech(61), last: im.FirstID(fromMillis(1.7e12))}
}

// next is the next message.
func (l *library) next() im.Message {
	l.n++
	l.last += im.ID(10_000_000 + l.says.random.IntN(200_000_000))
	conversation := im.ID(1)
	if l.n%10 != 0 {
		conversation = 2 + im.ID(l.says.random.IntN(libraryConversations-1))
	}
	words := l.says.text()
	switch {
	case l.n%50 < 3 || l.n%100 == 10:
		words += " 我在" + commonPair + "等你"
	case l.n%1000 == 520 && l.n <= 10_000:
		words += " " + rareWord + " " + rarePair
	}
	return text(conversation, l.last, words)
}

// fill stores messages up to a number.
func (l *library) fill(n int) {
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

// BenchmarkSearch measures a page of 20 in 10^4 and in 10^6 messages, and holds
// the one against the other.
func BenchmarkSearch(b *testing.B) {
	l := newLibrary(b)
	small := map[string]float64{}
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			l.fill(n)
			l.settled()
			for _, words := range []struct{ name, words string }{
				{"common", l.says.words[0]},
				{"rare", rareWord},
				{"none", "zzzyzx"},
				{"pair", commonPair},
				{"rare pair", rarePair},
				{"character", "海"},
				{"beginning", l.says.words[0][:2]},
				{"two", l.says.words[0] + " " + l.says.words[1]},
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

// BenchmarkReindex measures what it takes to compare the search index with a database of
// 10^5 messages, as after a crash, and to make it anew.
func BenchmarkReindex(b *testing.B) {
	const n = 100_000
	l := newLibrary(b)
	l.fill(n)
	l.settled()
	b.Run("compare", func(b *testing.B) {
		began := processorTime(b)
		for b.Loop() {
			l.Store.index.VerifyAll()
			l.settled()
		}
		b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/1000/float64(b.N)/n, "cpu-µs/msg")
	})
	b.Run("anew", func(b *testing.B) {
		began := processorTime(b)
		for b.Loop() {
			if err := l.Reindex(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/1000/float64(b.N)/n, "cpu-µs/msg")
	})
}

// processorTime is what this process has used: others disturb it less than they
// do the clock.
func processorTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
