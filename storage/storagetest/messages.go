package storagetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

func testMessages(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	w.view(func(r im.Reader) error {
		_, err := r.Message(1)
		w.notFound("unknown id", err)
		_, err = r.MessageByClientID("alice", "c1")
		w.notFound("unknown client_id", err)
		_, err = r.MessageByClientID("nobody", "c1")
		w.notFound("client_id of an unknown user", err)
		return nil
	})

	plain := w.send(w.text(id, "alice", "hi"))
	w.equal("the first seq", plain.Seq, 1)
	rich := w.text(id, "bob", strings.Repeat("naïve ", 500))
	c, err := im.Draft{
		Type: im.Custom, Body: []byte(`{"name":"n","data":[1]}`), Ext: []byte(`{"a":{"b":null}}`),
		Mentions: []im.UserID{"alice", "nobody yet"},
	}.Content(4096)
	w.must(err)
	rich.SenderDevice, rich.ClientID, rich.Type, rich.ReplyTo, rich.Receipt, rich.Content = "phone", "c 1", im.Custom, plain.ID, true, c
	rich = w.send(rich)
	w.equal("the next seq", rich.Seq, 2)

	for _, want := range []im.Message{plain, rich} {
		got := read(w, func(r im.Reader) (im.Message, error) { return r.Message(want.ID) })
		w.sameMessage(got, want)
	}
	got := read(w, func(r im.Reader) (im.Message, error) { return r.MessageByClientID("bob", "c 1") })
	w.sameMessage(got, rich)
	w.view(func(r im.Reader) error {
		_, err := r.MessageByClientID("alice", "c 1")
		w.notFound("client_id of another", err)
		_, err = r.MessageByClientID("alice", "")
		w.notFound("no client_id", err)
		return nil
	})
	conversation := w.conversation(id)
	w.equal("conversation", []any{conversation.LastSeq, conversation.UpdatedAt, conversation.LastEvent},
		[]any{int64(2), rich.CreatedAt, read(w, func(r im.Reader) (im.LogBounds, error) { return r.LogBounds() }).Head})

	// A second message with the same client_id must fail.
	again := rich
	again.ID = w.ids.Next(w.tick())
	if w.store.Write(w.Context(), func(tx im.Tx) error { _, err := tx.InsertMessage(again); return err }) == nil {
		w.Fatal("stored a client_id twice")
	}
	other := w.text(id, "alice", "mine")
	other.ClientID = "c 1"
	w.equal("seq after the failed insert", w.send(other).Seq, 3)

	w.write(func(tx im.Tx) error {
		for i := range 3 {
			m := w.text(id, "alice", "in one transaction")
			seq, err := tx.InsertMessage(m)
			if err != nil {
				return err
			}
			got, err := tx.Message(m.ID)
			if err != nil {
				return err
			}
			if seq != int64(4+i) || got.Seq != seq {
				return fmt.Errorf("seq %d, read back as %d, want %d", seq, got.Seq, 4+i)
			}
		}
		return nil
	})
	lost := w.text(id+1, "alice", "nowhere")
	if w.store.Write(w.Context(), func(tx im.Tx) error { _, err := tx.InsertMessage(lost); return err }) == nil {
		w.Fatal("stored a message of an unknown conversation")
	}
}

// sameMessage compares two messages, including their content.
func (w *world) sameMessage(got, want im.Message) {
	w.Helper()
	w.equal("message", got, want)
}

// past returns the key of a message in the order of a query.
func past(m im.Message) *im.HistoryKey { return &im.HistoryKey{CreatedAt: m.CreatedAt, Seq: m.Seq} }

// pages reads all pages of a query.
func (w *world) pages(q im.HistoryQuery) (all []im.Message, pages int) {
	w.Helper()
	for {
		page := read(w, func(r im.Reader) (im.HistoryPage, error) { return r.Messages(q) })
		if len(page.Messages) > q.Limit {
			w.Fatalf("%d messages on a page of %d", len(page.Messages), q.Limit)
		}
		all = append(all, page.Messages...)
		pages++
		if page.Next == nil {
			return all, pages
		}
		q.Past = page.Next
	}
}

func seqs(list []im.Message) []int64 {
	s := make([]int64, len(list))
	for i, m := range list {
		s[i] = m.Seq
	}
	return s
}

func testHistoryPages(w *world) {
	id := w.group(im.HistoryAll, "alice")
	other := w.group(im.HistoryAll, "alice")
	var all []im.Message
	for i := range 20 {
		all = append(all, w.send(w.text(id, "alice", fmt.Sprint("m", i))))
		w.send(w.text(other, "alice", "elsewhere"))
	}
	whole := []im.SeqRange{{From: 1, To: 20}}
	page := read(w, func(r im.Reader) (im.HistoryPage, error) {
		return r.Messages(im.HistoryQuery{Conversation: id, Ranges: whole, Limit: 3})
	})
	w.equal("newest first", seqs(page.Messages), []int64{20, 19, 18})
	w.sameMessage(page.Messages[0], all[19])
	w.equal("next", page.Next.Seq, int64(18))
	page = read(w, func(r im.Reader) (im.HistoryPage, error) {
		return r.Messages(im.HistoryQuery{Conversation: id, Ranges: whole, Limit: 3, Ascending: true, Past: past(all[6])})
	})
	w.equal("oldest first, after", seqs(page.Messages), []int64{8, 9, 10})
	for _, limit := range []int{20, 21} {
		got, n := w.pages(im.HistoryQuery{Conversation: id, Ranges: whole, Limit: limit})
		w.equal("a single page", []int{len(got), n}, []int{20, 1})
	}
	for _, ranges := range [][]im.SeqRange{nil, {{From: 21, To: 30}}, {{From: 5, To: 4}}} {
		got, _ := w.pages(im.HistoryQuery{Conversation: id, Ranges: ranges, Limit: 5})
		w.equal("no ranges with messages", len(got), 0)
	}
	got, _ := w.pages(im.HistoryQuery{Conversation: other + 1, Ranges: whole, Limit: 5})
	w.equal("unknown conversation", len(got), 0)
	got, _ = w.pages(im.HistoryQuery{Conversation: id, Ranges: whole, Sender: "nobody", Limit: 5})
	w.equal("unknown sender", len(got), 0)
}

// testHistoryFilters compares combinations of filters, orders and ranges with a scan of all
// messages.
func testHistoryFilters(w *world) {
	random := rand.New(rand.NewPCG(3, 4))
	id := w.group(im.HistoryAll, "alice", "bob", "carol")
	var all []im.Message
	w.write(func(tx im.Tx) error {
		all = nil
		for range 200 {
			m := w.text(id, []im.UserID{"alice", "bob", "carol"}[random.IntN(3)], "text")
			m.Type = []im.MessageType{im.Text, im.Text, im.Location, im.Custom}[random.IntN(4)]
			// Times are neither unique nor in the order of seqs, as after imports.
			m.CreatedAt = epoch.Add(time.Duration(random.IntN(40)) * time.Second)
			if random.IntN(5) == 0 {
				m.Quiet, m.VisibleTo = true, []im.UserID{"alice", "bob"}[random.IntN(2)]
			}
			if random.IntN(5) == 0 {
				m.ExpiresAt = epoch.Add(time.Duration(random.IntN(40)) * time.Minute)
			}
			var err error
			if m.Seq, err = tx.InsertMessage(m); err != nil {
				return err
			}
			if random.IntN(5) == 0 {
				e := im.Erasure{State: im.Revoked, At: epoch}
				if _, err := tx.Erase(m.ID, e, epoch); err != nil {
					return err
				}
				m = m.Tombstone(e)
			}
			all = append(all, m)
		}
		return nil
	})
	hidden := map[int64]bool{}
	for range 30 {
		from := 1 + random.Int64N(200)
		to := from + random.Int64N(4)
		w.hide(id, "alice", from, to, w.tick())
		for seq := from; seq <= to; seq++ {
			hidden[seq] = true
		}
	}
	w.step("all filters together", func() {
		ranges := [][]im.SeqRange{
			{{From: 1, To: 200}},
			{{From: 50, To: 120}},
			{{From: 1, To: 10}, {From: 12, To: 12}, {From: 100, To: 180}, {From: 190, To: 900}},
		}
		for _, rng := range ranges {
			for _, sender := range []im.UserID{"", "bob"} {
				for _, typ := range []im.MessageType{0, im.Text, im.Location} {
					for times := range 4 {
						for _, ascending := range []bool{false, true} {
							q := im.HistoryQuery{
								Conversation: id, Ranges: rng, Ascending: ascending, Type: typ, Sender: sender,
								Limit: []int{1, 3, 50, 200}[random.IntN(4)],
							}
							if times&1 != 0 {
								q.From = epoch.Add(5*time.Second - time.Microsecond)
							}
							if times&2 != 0 {
								q.To = epoch.Add(33 * time.Second)
							}
							for _, reader := range []im.UserID{"", "alice", "carol", "a stranger"} {
								if random.IntN(3) >= testsize.Pick(3, 1) {
									continue // a short run takes a third of the combinations
								}
								q.Reader, q.Since, q.ActiveAt = reader, time.Time{}, time.Time{}
								if random.IntN(2) == 0 {
									q.Since = epoch.Add(7*time.Second - time.Microsecond)
								}
								if random.IntN(2) == 0 {
									q.ActiveAt = epoch.Add(20 * time.Minute)
								}
								got, _ := w.pages(q)
								want := filtered(all, q)
								if reader == "alice" {
									want = slices.DeleteFunc(want, func(m im.Message) bool { return hidden[m.Seq] })
								}
								w.equal(fmt.Sprintf("%+v", q), seqs(got), seqs(want))
							}
						}
					}
				}
			}
		}
	})
	// Times of messages have no fraction of a millisecond.
	w.step("bounds of time within a millisecond", func() {
		at := epoch.Add(7 * time.Second)
		for _, q := range []im.HistoryQuery{
			{From: at, To: at.Add(time.Microsecond)},
			{From: at.Add(-time.Microsecond), To: at.Add(time.Millisecond)},
			{From: at.Add(time.Microsecond), To: at.Add(time.Second)},
			{To: epoch},
		} {
			q.Conversation, q.Ranges, q.Limit = id, []im.SeqRange{{From: 1, To: 200}}, 100
			got, _ := w.pages(q)
			w.equal(fmt.Sprintf("%v to %v", q.From, q.To), seqs(got), seqs(filtered(all, q)))
		}
	})
}

// filtered returns the messages that a query must return.
func filtered(all []im.Message, q im.HistoryQuery) []im.Message {
	var list []im.Message
	for _, m := range all {
		in := slices.ContainsFunc(q.Ranges, func(r im.SeqRange) bool { return r.From <= m.Seq && m.Seq <= r.To })
		if in && (q.Sender == "" || m.Sender == q.Sender) && (q.Type == 0 || m.Type == q.Type) &&
			(q.From.IsZero() || !m.CreatedAt.Before(q.From)) && (q.To.IsZero() || m.CreatedAt.Before(q.To)) &&
			!m.CreatedAt.Before(q.Since) && (q.Reader == "" || m.VisibleTo == "" || m.VisibleTo == q.Reader) &&
			(q.ActiveAt.IsZero() || m.AsOf(q.ActiveAt).State == im.Active) {
			list = append(list, m)
		}
	}
	slices.SortStableFunc(list, func(a, b im.Message) int {
		n := 0
		if q.ByTime() {
			n = a.CreatedAt.Compare(b.CreatedAt)
		}
		n = cmp.Or(n, cmp.Compare(a.Seq, b.Seq))
		if !q.Ascending {
			n = -n
		}
		return n
	})
	return list
}

// testHistoryBounded checks that each page examines a bounded number of messages, even if a
// filter matches almost none.
func testHistoryBounded(w *world) {
	n := testsize.Pick[int64](6000, 3000)
	id := w.group(im.HistoryAll, "alice", "bob")
	w.write(func(tx im.Tx) error {
		for i := range n {
			m := w.text(id, "alice", "x")
			m.Type = im.Custom
			if i == 10 || i == n-10 {
				m.Sender, m.Type = "bob", im.Text
			} else {
				m.Quiet, m.VisibleTo = true, "alice"
			}
			if _, err := tx.InsertMessage(m); err != nil {
				return err
			}
		}
		return nil
	})
	w.hide(id, "carol", 12, n-10, w.tick())
	whole := []im.SeqRange{{From: 1, To: n}}
	apart := make([]im.SeqRange, 0, n/2)
	for i := int64(1); i <= n; i += 2 {
		apart = append(apart, im.SeqRange{From: i, To: i})
	}
	for _, q := range []im.HistoryQuery{
		{Type: im.Text},
		{Type: im.Text, Ascending: true},
		{Sender: "alice", Type: im.Text},
		{Sender: "bob", Type: im.Custom},
		{From: epoch, Sender: "bob"},
		{From: epoch, Type: im.Text, Ascending: true},
		{From: epoch, Type: im.Location},
		{Ranges: apart, Type: im.Location},
		{Ranges: apart, Type: im.Custom, Sender: "bob", Ascending: true},
		{Reader: "bob"},
		{Reader: "bob", Ascending: true},
		{Reader: "bob", From: epoch},
		{Reader: "bob", Ranges: apart},
		{Reader: "carol"},
		{Reader: "carol", From: epoch, Ascending: true},
		{Reader: "alice", Type: im.Text, Since: epoch},
		{Ranges: []im.SeqRange{{From: n - 20, To: n - 5}}, From: epoch, Ascending: true},
	} {
		q.Conversation, q.Limit = id, 5
		if q.Ranges == nil {
			q.Ranges = whole
		}
		got, pages := w.pages(q)
		var want []int64
		for _, seq := range []int64{11, n - 9} {
			if (q.Type == im.Text && q.Sender != "alice") || (q.Sender == "bob" && q.Type == 0) || (q.Reader != "" && q.Type == 0) {
				want = append(want, seq)
			}
		}
		if !q.Ascending {
			slices.Reverse(want)
		}
		if len(q.Ranges) == 1 && q.Ranges[0].From == n-20 {
			want = []int64{n - 20, n - 19, n - 18, n - 17, n - 16, n - 15, n - 14, n - 13, n - 12, n - 11, n - 10, n - 9, n - 8, n - 7, n - 6, n - 5}
		}
		w.equal("found", seqs(got), want)
		if most := int(n)/500 + 5; pages > most {
			w.Fatalf("%d pages, want at most %d", pages, most)
		}
	}
}
