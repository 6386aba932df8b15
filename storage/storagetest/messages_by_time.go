package storagetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// testQueriesByTime compares every query by time with a scan, in a conversation whose clock goes
// back and forth and into which older, newer and current messages are imported.
func testQueriesByTime(w *world) {
	r := rand.New(rand.NewPCG(51, 52))
	id := w.group(im.HistoryAll, "alice", "bob")
	users := []im.UserID{"alice", "bob"}
	var all []im.Message
	put := func(n int, change func(*im.Message)) {
		w.write(func(tx im.Tx) error {
			for range n {
				m := w.text(id, users[r.IntN(2)], "x")
				change(&m)
				var err error
				if m.Quiet {
					m.Seq, err = tx.InsertMessage(m)
				} else {
					m.Seq, _, err = insert(tx, m)
				}
				if err != nil {
					return err
				}
				all = append(all, m)
			}
			return nil
		})
	}
	for range 40 {
		w.now = w.now.Add(time.Duration(r.IntN(50)) * time.Millisecond)
		n, far := 1+r.IntN(12), time.Duration(r.IntN(2000))*time.Millisecond
		switch r.IntN(5) {
		case 0: // import in the order of time
			put(n, func(m *im.Message) { m.Quiet, m.CreatedAt = true, m.CreatedAt.Add(-far) })
		case 1: // import in random order
			put(n, func(m *im.Message) {
				m.Quiet, m.CreatedAt = true, m.CreatedAt.Add(time.Duration(r.IntN(800)-400)*time.Millisecond)
			})
		case 2: // the clock was set back; ids still rise
			put(n, func(m *im.Message) { m.CreatedAt = m.CreatedAt.Add((-far / 10).Truncate(time.Millisecond)) })
		default:
			put(n, func(*im.Message) {})
		}
	}
	byTime := func(a, b im.Message) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Seq, b.Seq)) }
	slices.SortFunc(all, byTime)
	first, last := all[0].CreatedAt, all[len(all)-1].CreatedAt
	moment := func() time.Time {
		return first.Add(time.Duration(r.Int64N(int64(last.Sub(first) + 2*time.Millisecond))))
	}

	// pages returns the ids of all pages of a query.
	pages := func(q im.HistoryQuery) (ids []im.ID) {
		for range 1000 {
			page := read(w, func(r im.Reader) (im.HistoryPage, error) { return r.Messages(q) })
			for _, m := range page.Messages {
				ids = append(ids, m.ID)
			}
			if page.Next == nil {
				return ids
			}
			q.Past = page.Next
		}
		w.Fatalf("%+v: the pages do not end", q)
		return nil
	}
	w.step("history, counts and single messages by time", func() {
		for range testsize.Pick(60, 20) {
			q := im.HistoryQuery{
				Conversation: id, Ranges: []im.SeqRange{{From: 1, To: 10_000}}, Timed: true,
				Ascending: r.IntN(2) == 0, Limit: 1 + r.IntN(9), Reader: "alice",
			}
			if r.IntN(2) == 0 {
				q.From = moment()
			}
			if r.IntN(2) == 0 {
				q.To = moment()
			}
			if r.IntN(3) == 0 {
				q.Sender = users[r.IntN(2)]
			}
			if r.IntN(3) == 0 {
				q.Ranges = []im.SeqRange{{From: 20, To: 60}, {From: 70, To: 200}}
			}
			if r.IntN(4) == 0 {
				q.Since = moment()
			}
			var want []im.ID
			for _, m := range all {
				if (q.From.IsZero() || !m.CreatedAt.Before(q.From)) && (q.To.IsZero() || m.CreatedAt.Before(q.To)) &&
					(q.Since.IsZero() || !m.CreatedAt.Before(q.Since)) && (q.Sender == "" || m.Sender == q.Sender) && q.Ranges.Has(m.Seq) {
					want = append(want, m.ID)
				}
			}
			if !q.Ascending {
				slices.Reverse(want)
			}
			w.equal(fmt.Sprintf("%+v", q), pages(q), want)

			at := moment()
			n := int64(0)
			for _, m := range all {
				if m.CreatedAt.Before(at) {
					n++
				}
			}
			w.equal("CountBefore", read(w, func(r im.Reader) (int64, error) { return r.CountBefore(id, at) }), n)
		}
		for _, m := range all {
			got := read(w, func(r im.Reader) (im.Message, error) { return r.MessageAt(id, m.Sender, m.CreatedAt, m.Content.Sent) })
			if got.CreatedAt != m.CreatedAt || got.Sender != m.Sender {
				w.Fatalf("at %v: %+v", m.CreatedAt, got)
			}
		}
	})
	w.step("trimming the oldest messages", func() {
		for len(all) > 0 {
			before := all[len(all)/2].CreatedAt.Add(time.Millisecond)
			var step im.Trimmed
			w.write(func(tx im.Tx) (err error) {
				step, err = tx.Trim(id, before, 7, w.tick())
				return err
			})
			all = all[step.Messages:]
			c := read(w, func(r im.Reader) (im.Conversation, error) { return r.Conversation(id) })
			if len(all) > 0 && (!c.OldestAt.Equal(all[0].CreatedAt) || c.FirstSeq != slices.MinFunc(all, func(a, b im.Message) int { return cmp.Compare(a.Seq, b.Seq) }).Seq) {
				w.Fatalf("%d messages: OldestAt = %v, want %v; FirstSeq = %d", len(all), c.OldestAt, all[0].CreatedAt, c.FirstSeq)
			}
			if step.Done && len(all) < 30 {
				break
			}
		}
		w.equal("remaining messages", len(pages(im.HistoryQuery{Conversation: id, Ranges: []im.SeqRange{{From: 1, To: 10_000}}, Timed: true, Limit: 50})), len(all))
	})
}
