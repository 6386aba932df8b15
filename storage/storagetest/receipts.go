package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// put gives a receipt in its own transaction and returns the ranges that are new.
func (w *world) put(kind im.ReceiptKind, id im.ID, user im.UserID, from, to int64, at time.Time) (fresh []im.SeqRange) {
	w.Helper()
	w.write(func(tx im.Tx) (err error) {
		fresh, err = tx.PutReceipt(kind, id, user, im.SeqRange{From: from, To: to}, at)
		return err
	})
	return fresh
}

func (w *world) receiptsOf(kind im.ReceiptKind, id im.ID, seq int64) []im.Receipt {
	w.Helper()
	return read(w, func(r im.Reader) ([]im.Receipt, error) { return r.ReceiptsOf(kind, id, seq) })
}

func testReceipts(w *world) {
	id, other := w.group(im.HistoryAll, "alice", "zoe", "bob"), w.group(im.HistoryAll, "alice", "bob")
	for range 20 {
		w.send(w.text(id, "alice", "x"))
		w.send(w.text(other, "alice", "x"))
	}
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	ranges := func(list ...int64) (r []im.SeqRange) {
		for i := 0; i < len(list); i += 2 {
			r = append(r, im.SeqRange{From: list[i], To: list[i+1]})
		}
		return r
	}
	w.equal("before", len(w.receiptsOf(im.Read, id, 1)), 0)
	w.equal("first", w.put(im.Read, id, "zoe", 3, 5, at(1)), ranges(3, 5))
	w.equal("again", w.put(im.Read, id, "zoe", 3, 5, at(2)), ranges())
	w.equal("inside a range", w.put(im.Read, id, "zoe", 4, 4, at(2)), ranges())
	w.equal("separate", w.put(im.Read, id, "zoe", 8, 8, at(3)), ranges(8, 8))
	w.equal("covering both", w.put(im.Read, id, "zoe", 1, 10, at(4)), ranges(1, 2, 6, 7, 9, 10))
	w.equal("an empty range", w.put(im.Read, id, "zoe", 10, 9, at(4)), ranges())
	w.equal("overlapping", w.put(im.Read, id, "zoe", 9, 12, at(5)), ranges(11, 12))
	w.equal("another user", w.put(im.Read, id, "bob", 4, 9, at(6)), ranges(4, 9))
	w.equal("another conversation", w.put(im.Read, other, "bob", 1, 9, at(7)), ranges(1, 9))
	w.equal("another kind", w.put(im.Delivered, id, "zoe", 4, 4, at(8)), ranges(4, 4))

	for seq, want := range map[int64][]im.Receipt{
		1: {{User: "zoe", At: at(4)}}, 4: {{User: "bob", At: at(6)}, {User: "zoe", At: at(1)}},
		8: {{User: "bob", At: at(6)}, {User: "zoe", At: at(3)}}, 10: {{User: "zoe", At: at(4)}},
		12: {{User: "zoe", At: at(5)}}, 13: nil,
	} {
		w.equal(fmt.Sprint("readers of ", seq), w.receiptsOf(im.Read, id, seq), want)
	}
	w.equal("delivered receipts", w.receiptsOf(im.Delivered, id, 4), []im.Receipt{{User: "zoe", At: at(8)}})

	// A rollback undoes the receipts.
	err := w.store.Write(w.Context(), func(tx im.Tx) error {
		fresh, err := tx.PutReceipt(im.Read, id, "never seen", im.SeqRange{From: 1, To: 20}, at(9))
		w.must(err)
		w.equal("fresh in the transaction", fresh, ranges(1, 20))
		fresh, err = tx.PutReceipt(im.Read, id, "never seen", im.SeqRange{From: 1, To: 20}, at(9))
		w.must(err)
		w.equal("again in the transaction", fresh, ranges())
		return fmt.Errorf("for a test")
	})
	if err == nil {
		w.Fatal("no error")
	}
	w.equal("after the rollback", len(w.receiptsOf(im.Read, id, 20)), 0)
}

// seqsOf returns the seqs in ranges.
func seqsOf(ranges []im.SeqRange) []int64 {
	var seqs []int64
	for _, r := range ranges {
		for seq := r.From; seq <= r.To; seq++ {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// seqsWhere returns the seqs of a range for which holds returns true.
func seqsWhere(from, to int64, holds func(seq int64) bool) []int64 {
	var seqs []int64
	for seq := from; seq <= to; seq++ {
		if holds(seq) {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// testReceiptsModel compares receipts given in random order with a set of messages.
func testReceiptsModel(w *world) {
	random := rand.New(rand.NewPCG(15, 16))
	const n = 400
	id := w.group(im.HistoryAll, "alice", "bob")
	w.fill(id, n, func(int) im.UserID { return "alice" })
	for round := range 4 {
		user := im.UserID(fmt.Sprint("reader ", round))
		has := map[int64]time.Time{}
		longest := []int64{1, 3, 40, n}[round]
		for i := range 250 {
			from := 1 + random.Int64N(n)
			to := min(n, from+random.Int64N(longest))
			at := epoch.Add(time.Duration(i/2) * time.Second) // some at the same time
			var want []im.SeqRange
			for seq := from; seq <= to; seq++ {
				if _, ok := has[seq]; ok {
					continue
				}
				has[seq] = at
				if last := len(want) - 1; last >= 0 && want[last].To == seq-1 {
					want[last].To = seq
				} else {
					want = append(want, im.SeqRange{From: seq, To: seq})
				}
			}
			w.equal("fresh", w.put(im.Read, id, user, from, to, at), want)
			from, to = 1+random.Int64N(n), 1+random.Int64N(n)
			part := read(w, func(r im.Reader) ([]im.SeqRange, error) {
				return r.ReceiptsIn(im.Read, id, user, im.SeqRange{From: from, To: to})
			})
			w.equal("ReceiptsIn a range", seqsOf(part), seqsWhere(from, to, func(seq int64) bool { _, ok := has[seq]; return ok }))
		}
		newest := epoch.Add(125 * time.Second)
		for seq := int64(1); seq <= n; seq++ {
			list := slices.DeleteFunc(w.receiptsOf(im.Read, id, seq), func(r im.Receipt) bool { return r.User != user })
			at, ok := has[seq]
			if ok != (len(list) == 1) {
				w.Fatalf("receipts of %s for %d: %v, want one: %v", user, seq, list, ok)
			}
			if ok && (list[0].At.Before(at) || list[0].At.After(newest)) {
				w.Fatalf("receipt of %s for %d was given at %v, stored as %v", user, seq, at, list[0].At)
			}
		}
		w.equal("unread", w.unread(id, user, im.SeqRange{From: 1, To: n}).Messages, n-len(has))
	}
}

// testReceiptTimes checks that a receipt keeps its exact time while it is among the newest, and
// that the time of an older receipt is neither before its exact time nor after the exact time of
// the newest of the older receipts.
func testReceiptTimes(w *world) {
	const n, kept = 300, 64
	id := w.group(im.HistoryAll, "alice", "bob")
	w.fill(id, n, func(int) im.UserID { return "alice" })
	at := func(seq int64) time.Time { return epoch.Add(time.Duration(seq) * time.Second) }
	for seq := int64(1); seq <= n; seq++ {
		w.put(im.Read, id, "bob", seq, seq, at(seq))
	}
	for seq := int64(1); seq <= n; seq++ {
		got := w.receiptsOf(im.Read, id, seq)[0].At
		if got.Before(at(seq)) || seq > n-kept && !got.Equal(at(seq)) || got.After(at(n-kept)) && seq <= n-kept {
			w.Fatalf("%d was read at %v, stored as %v", seq, at(seq), got)
		}
	}
}

// testReceiptsBetweenOwnMessages checks the receipts of a user who answers every message
// and gives a receipt for each: their own messages lie between the ranges.
func testReceiptsBetweenOwnMessages(w *world) {
	const n = 400
	id := w.group(im.HistoryAll, "alice", "bob")
	w.fill(id, n, func(i int) im.UserID {
		if i%7 == 6 {
			return "carol" // whose messages bob does not read
		}
		return []im.UserID{"alice", "bob"}[i%2]
	})
	sender := func(seq int64) im.UserID {
		return w.history(id, seq).Sender
	}
	unread := 0
	for seq := int64(1); seq <= n; seq++ {
		switch sender(seq) {
		case "carol":
			unread++
		case "alice":
			w.equal("fresh", w.put(im.Read, id, "bob", seq, seq, w.tick()), []im.SeqRange{{From: seq, To: seq}})
		}
	}
	for seq := int64(1); seq <= n; seq++ {
		got := len(w.receiptsOf(im.Read, id, seq))
		switch by := sender(seq); {
		case by == "carol" && got != 0, by == "alice" && got != 1:
			w.Fatalf("%d receipts for message %d from %s", got, seq, by)
		}
	}
	w.equal("unread", w.unread(id, "bob", im.SeqRange{From: 1, To: n}).Messages, unread)
}

// history returns the message with a seq.
func (w *world) history(id im.ID, seq int64) im.Message {
	w.Helper()
	page := read(w, func(r im.Reader) (im.HistoryPage, error) {
		return r.Messages(im.HistoryQuery{Conversation: id, Ranges: []im.SeqRange{{From: seq, To: seq}}, Limit: 1})
	})
	return page.Messages[0]
}
