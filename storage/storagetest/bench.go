package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// Engine opens a store for a benchmark. If durable is set, an acknowledged write must
// survive a power cut. observe, unless nil, is called with the number of calls in each
// commit.
type Engine func(b *testing.B, durable bool, observe func(calls int)) im.Store

// Bench runs the benchmarks of a storage engine.
func Bench(b *testing.B, open Engine) {
	b.Run("Send", func(b *testing.B) { benchSend(b, open) })
	b.Run("Replay", func(b *testing.B) { benchReplay(b, open) })
	b.Run("History", func(b *testing.B) { benchHistory(b, open) })
	b.Run("Views", func(b *testing.B) { benchViews(b, open) })
	b.Run("Spaces", func(b *testing.B) { benchSpaces(b, open) })
	b.Run("Import", func(b *testing.B) { benchImport(b, open) })
	b.Run("Erase", func(b *testing.B) { benchErase(b, open) })
	b.Run("Receipt", func(b *testing.B) { benchReceipt(b, open) })
	b.Run("Due", func(b *testing.B) { benchDue(b, open) })
}

// benchSend measures sending messages through Write by concurrent callers that wait for their
// results, with and without a sync to disk.
func benchSend(b *testing.B, open Engine) {
	for _, durable := range []bool{true, false} {
		for _, callers := range []int{1, 8, 64, 256} {
			b.Run(fmt.Sprintf("durable=%v/callers=%d", durable, callers), func(b *testing.B) {
				var calls, commits atomic.Int64
				w := newWorld(b, open(b, durable, func(n int) {
					calls.Add(int64(n))
					commits.Add(1)
				}))
				groups := make([]im.ID, 16)
				for i := range groups {
					groups[i] = w.group(im.HistoryAll, "alice", "bob", "carol")
				}
				text := content(b, `{"text":"a message of a usual length, neither short nor long"}`)
				var n atomic.Int64
				calls.Store(0)
				commits.Store(0)
				b.ResetTimer()
				done := make(chan error, callers)
				for range callers {
					go func() {
						for {
							i := n.Add(1)
							if i > int64(b.N) {
								done <- nil
								return
							}
							if err := benchMessage(w, groups[i%int64(len(groups))], i, text); err != nil {
								done <- err
								return
							}
						}
					}()
				}
				for range callers {
					w.must(<-done)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				if c := commits.Load(); c > 0 {
					b.ReportMetric(float64(calls.Load())/float64(c), "msg/commit")
				}
			})
		}
	}
}

// benchMessage sends a message as the use case does: it reads first, and then writes.
func benchMessage(w *world, group im.ID, i int64, text *im.Content) error {
	now := time.Now()
	m := im.Message{
		ID: w.ids.Next(now), Conversation: group, Sender: "alice", ClientID: fmt.Sprint("client ", i),
		Type: im.Text, State: im.Active, CreatedAt: now, Content: text,
	}
	return w.store.Write(context.Background(), func(tx im.Tx) error {
		if _, err := tx.Conversation(group); err != nil {
			return err
		}
		if _, err := tx.Membership(group, "alice"); err != nil {
			return err
		}
		if _, err := tx.MessageByClientID("alice", m.ClientID); !errors.Is(err, im.ErrNotFound) {
			return fmt.Errorf("the client_id exists: %w", err)
		}
		_, _, err := insert(tx, m)
		return err
	})
}

// fill sends n messages to a conversation.
func (w *world) fill(id im.ID, n int, sender func(i int) im.UserID) {
	w.Helper()
	text := content(w, `{"text":"a message of a usual length, neither short nor long"}`)
	for done := 0; done < n; {
		batch := min(n-done, 2000)
		messages := make([]im.Message, batch)
		for i := range messages {
			messages[i] = w.text(id, sender(done+i), "")
			messages[i].Content = text
		}
		w.write(func(tx im.Tx) error {
			for _, m := range messages {
				if _, _, err := insert(tx, m); err != nil {
					return err
				}
			}
			return nil
		})
		done += batch
	}
}

// benchReplay measures reading 10,000 missed events in windows of 1,000, for a member of
// one and of 100 conversations.
func benchReplay(b *testing.B, open Engine) {
	for _, conversations := range []int{1, 100} {
		b.Run(fmt.Sprintf("events=10000/conversations=%d", conversations), func(b *testing.B) {
			w := newWorld(b, open(b, false, nil))
			for range conversations {
				w.fill(w.group(im.HistoryAll, "alice", "bob"), 10_000/conversations, func(int) im.UserID { return "bob" })
			}
			head := w.bounds().Head
			b.ResetTimer()
			for b.Loop() {
				got, _ := w.events("alice", 0, head, 1000)
				if len(got) < 10_000 {
					b.Fatalf("%d events", len(got))
				}
			}
			b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// benchHistory measures a page of 50 messages in conversations of a thousand and of a
// million messages: the newest, from the middle, and filtered.
func benchHistory(b *testing.B, open Engine) {
	for _, n := range []int{1_000, 1_000_000} {
		var w *world
		var id im.ID
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			if w == nil {
				w = newWorld(b, open(b, false, nil))
				id = w.group(im.HistoryAll, "alice", "bob", "carol")
				w.fill(id, n, func(i int) im.UserID {
					if i%100 == 0 {
						return "carol"
					}
					return "bob"
				})
			}
			whole := []im.SeqRange{{From: 1, To: int64(n)}}
			middle := read(w, func(r im.Reader) (im.HistoryPage, error) {
				return r.Messages(im.HistoryQuery{Conversation: id, Ranges: []im.SeqRange{{From: 1, To: int64(n / 2)}}, Limit: 1})
			}).Messages[0]
			for _, q := range []struct {
				name  string
				query im.HistoryQuery
			}{
				{"newest", im.HistoryQuery{}},
				{"middle", im.HistoryQuery{Past: past(middle)}},
				{"sender", im.HistoryQuery{Sender: "carol"}},
				{"time", im.HistoryQuery{From: middle.CreatedAt, Ascending: true}},
				{"type without messages", im.HistoryQuery{Type: im.Custom}},
				{"sender by time", im.HistoryQuery{From: middle.CreatedAt, Sender: "carol"}},
			} {
				q.query.Conversation, q.query.Ranges, q.query.Limit = id, whole, 50
				b.Run(q.name, func(b *testing.B) {
					for b.Loop() {
						read(w, func(r im.Reader) (im.HistoryPage, error) { return r.Messages(q.query) })
					}
				})
			}
		})
	}
}
