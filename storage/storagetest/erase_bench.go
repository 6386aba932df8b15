package storagetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// revoked is the erasure that benchErase measures.
var revoked = im.Erasure{State: im.Revoked, At: epoch, By: "alice"}

// benchErase compares erasing a message with sending one, both with their events, in
// transactions of 1 and of 200 messages.
func benchErase(b *testing.B, open Engine) {
	for _, batch := range []int{1, 200} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			w := newWorld(b, open(b, false, nil))
			id := w.group(im.HistoryAll, "alice", "bob")
			text := content(b, `{"text":"a message of a usual length, neither short nor long"}`)
			var sent []im.Message
			b.Run("send", func(b *testing.B) {
				for done := 0; done < b.N; done += batch {
					messages := make([]im.Message, min(batch, b.N-done))
					for i := range messages {
						messages[i] = w.text(id, "alice", "")
						messages[i].Content, messages[i].ClientID = text, fmt.Sprint(messages[i].ID)
					}
					w.write(func(tx im.Tx) error {
						for i := range messages {
							var err error
							if messages[i].Seq, _, err = insert(tx, messages[i]); err != nil {
								return err
							}
						}
						return nil
					})
					sent = append(sent, messages...)
				}
			})
			b.Run("erase", func(b *testing.B) {
				b.StopTimer()
				if missing := b.N - len(sent); missing > 0 {
					w.fill(id, missing, func(int) im.UserID { return "alice" })
					last := w.conversation(id).LastSeq
					w.each(id, last-int64(missing)+1, last, func(m im.Message) { sent = append(sent, m) })
				}
				todo := sent[:b.N]
				sent = sent[b.N:]
				b.StartTimer()
				for done := 0; done < b.N; done += batch {
					part := todo[done:min(done+batch, b.N)]
					w.write(func(tx im.Tx) error {
						for _, m := range part {
							if err := eraseWithEvent(tx, m, revoked); err != nil {
								return err
							}
						}
						return nil
					})
				}
			})
		})
	}
}

// eraseWithEvent erases a message as the use case does, with its event.
func eraseWithEvent(tx im.Tx, m im.Message, e im.Erasure) error {
	done, err := tx.Erase(m.ID, e, epoch)
	if err == nil && !done {
		err = fmt.Errorf("%v is not active", m.ID)
	}
	if err != nil {
		return err
	}
	_, err = tx.Append(im.Event{
		Type: im.MessageRevoked, At: epoch, Conversation: m.Conversation, MessageID: m.ID, Seq: m.Seq, Actor: e.By,
	})
	return err
}

// each calls fn for every message of a range.
func (w *world) each(id im.ID, from, to int64, fn func(im.Message)) {
	w.Helper()
	for ; from <= to; from += 200 {
		page := read(w, func(r im.Reader) (im.HistoryPage, error) {
			return r.Messages(im.HistoryQuery{
				Conversation: id, Ranges: []im.SeqRange{{From: from, To: min(to, from+199)}}, Ascending: true, Limit: 200,
			})
		})
		for _, m := range page.Messages {
			fn(m)
		}
	}
}

// benchReceipt measures, in durable commits, a read receipt for 1,000 unread messages, and receipts
// for one message at a time, as an open client gives them, each with a count of unread messages
// after it. It also measures such a count alone.
func benchReceipt(b *testing.B, open Engine) {
	const n = 1000
	give := func(w *world, id im.ID, user im.UserID, r im.SeqRange, at time.Time) error {
		return w.store.Write(context.Background(), func(tx im.Tx) error {
			fresh, err := tx.PutReceipt(im.Read, id, user, r, at)
			if err != nil {
				return err
			}
			if len(fresh) != 1 {
				return fmt.Errorf("fresh ranges %v, want one", fresh)
			}
			_, err = tx.Unread(im.UnreadQuery{Conversation: id, User: user, Ranges: []im.SeqRange{{From: 1, To: n}}, Now: at})
			return err
		})
	}
	w := newWorld(b, open(b, true, nil))
	id := w.group(im.HistoryAll, "alice", "bob")
	w.fill(id, n, func(int) im.UserID { return "alice" })
	readers := 0
	b.Run("up to 1000 unread", func(b *testing.B) {
		for b.Loop() {
			readers++
			w.must(give(w, id, im.UserID(fmt.Sprint("reader ", readers)), im.SeqRange{From: 1, To: n}, w.tick()))
		}
	})
	b.Run("one of 1000", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if i%n == 0 {
				readers++
			}
			seq := int64(i%n + 1)
			w.must(give(w, id, im.UserID(fmt.Sprint("reader ", readers)), im.SeqRange{From: seq, To: seq}, w.tick()))
		}
	})
	b.Run("unread of 1000", func(b *testing.B) {
		for b.Loop() {
			if got := w.unread(id, "bob", im.SeqRange{From: 1, To: n}); got.Messages != n {
				b.Fatal(got)
			}
		}
	})
}

// benchDue measures erasing 10,000 messages that are due, 200 in a transaction.
func benchDue(b *testing.B, open Engine) {
	const n, batch = 10_000, 200
	w := newWorld(b, open(b, false, nil))
	id := w.group(im.HistoryAll, "alice", "bob")
	text := content(b, `{"text":"a message of a usual length, neither short nor long"}`)
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		w.write(func(tx im.Tx) error {
			for range n {
				m := w.text(id, "alice", "")
				m.Content, m.ExpiresAt = text, epoch
				if _, err := tx.InsertMessage(m); err != nil {
					return err
				}
			}
			return nil
		})
		b.StartTimer()
		for left := n; left > 0; {
			erased := 0
			w.write(func(tx im.Tx) error {
				due, err := tx.Due(w.now, batch)
				if err != nil {
					return err
				}
				for _, m := range due {
					if err := eraseWithEvent(tx, m, im.Erasure{State: im.Expired, At: epoch}); err != nil {
						return err
					}
				}
				erased = len(due)
				return nil
			})
			if erased == 0 {
				b.Fatalf("%d messages are not reported as due", left)
			}
			left -= erased
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "erased/s")
}
