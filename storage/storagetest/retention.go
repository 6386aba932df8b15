package storagetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// trim does one step of a trim.
func (w *world) trim(id im.ID, before time.Time, limit int) (step im.Trimmed) {
	w.Helper()
	w.write(func(tx im.Tx) (err error) {
		step, err = tx.Trim(id, before, limit, w.now)
		return err
	})
	return step
}

// trimAll trims until nothing is left to trim and returns the number of messages that it deleted.
func (w *world) trimAll(id im.ID, before time.Time, limit int) (n int) {
	w.Helper()
	for {
		step := w.trim(id, before, limit)
		n += step.Messages
		if step.Done {
			return n
		}
	}
}

// testTrim trims conversations repeatedly, with imported messages that are older than
// earlier seqs, and compares the rest with the messages that must remain.
func testTrim(w *world) {
	random := rand.New(rand.NewPCG(71, 72))
	ids := []im.ID{w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")}
	var all []im.Message
	for round := range 12 {
		for i := range 60 {
			m := w.text(ids[random.IntN(2)], "alice", "said")
			m.ClientID = fmt.Sprint("client ", round, " ", i)
			if m.Quiet = random.IntN(4) == 0; m.Quiet {
				m.CreatedAt = m.CreatedAt.Add(-time.Duration(random.IntN(300)) * time.Millisecond)
			}
			m = w.send(m)
			if random.IntN(5) == 0 {
				e := im.Erasure{State: im.Revoked, At: w.now, By: "alice", Postscript: "sorry"}
				w.erase(m.ID, e)
				m = m.Tombstone(e)
			}
			if random.IntN(2) == 0 {
				w.put(im.Read, m.Conversation, "bob", m.Seq, m.Seq, w.now)
			}
			all = append(all, m)
		}
		id := ids[random.IntN(2)]
		before := w.now.Add(-time.Duration(random.IntN(200)) * time.Millisecond)
		past := func(m im.Message) bool { return m.Conversation == id && m.CreatedAt.Before(before) }
		want := 0
		for _, m := range all {
			if past(m) {
				want++
			}
		}
		count := read(w, func(r im.Reader) (int64, error) { return r.CountBefore(id, before) })
		w.equal("CountBefore", count, want)
		w.equal("trimmed", w.trimAll(id, before, 1+random.IntN(30)), want)
		all = slices.DeleteFunc(all, func(m im.Message) bool {
			if past(m) {
				w.checkTrimmed(m)
			}
			return past(m)
		})
		for _, id := range ids {
			w.checkRemaining(id, all)
		}
	}
	events, _ := w.events("alice", 0, w.bounds().Head, 100)
	w.equal("remaining events", []im.EventType{events[0].Type, events[1].Type},
		[]im.EventType{im.ConversationCreated, im.ConversationCreated})
}

// checkTrimmed checks that a message is found neither by its id nor by its client_id.
func (w *world) checkTrimmed(m im.Message) {
	w.Helper()
	w.view(func(r im.Reader) error {
		_, err := r.Message(m.ID)
		w.notFound("a trimmed message", err)
		_, err = r.MessageByClientID(m.Sender, m.ClientID)
		w.notFound("its client_id", err)
		return nil
	})
}

// checkRemaining compares a conversation with the messages that must remain in it.
func (w *world) checkRemaining(id im.ID, all []im.Message) {
	w.Helper()
	c := w.conversation(id)
	first, oldest := c.LastSeq+1, time.Time{}
	for _, m := range all {
		if m.Conversation != id {
			continue
		}
		first = min(first, m.Seq)
		if oldest.IsZero() || m.CreatedAt.Before(oldest) {
			oldest = m.CreatedAt
		}
		w.sameMessage(w.message(m.ID), m)
	}
	w.equal("first seq, oldest, cutoff", []any{c.FirstSeq, c.OldestAt, c.TrimBefore}, []any{first, oldest, time.Time{}})
	for seq := int64(1); seq < first; seq++ {
		if got := w.receiptsOf(im.Read, id, seq); len(got) != 0 {
			w.Fatalf("receipts for %d, but the first message is %d", seq, first)
		}
	}
}

// testTrimSteps checks the state between the steps of a trim.
func testTrimSteps(w *world) {
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice")
	w.equal("no messages", w.trim(id, w.now, 10), im.Trimmed{FirstSeq: 1, Done: true})
	trimming := func() (ids []im.ID) {
		for _, c := range read(w, func(r im.Reader) ([]im.Conversation, error) { return r.Trimming(10) }) {
			ids = append(ids, c.ID)
		}
		return ids
	}
	var list []im.Message
	for range 7 {
		list = append(list, w.send(w.text(id, "alice", "said")))
	}
	kept := w.send(w.text(other, "alice", "stays"))
	w.put(im.Read, id, "bob", 1, 3, w.now)
	w.put(im.Delivered, id, "bob", 1, 6, w.now)
	before := list[4].CreatedAt.Add(time.Microsecond) // includes the fifth message
	for i, want := range []im.Trimmed{
		{Messages: 2, Active: 2, FirstSeq: 3},
		{Messages: 2, Active: 2, FirstSeq: 5},
		{Messages: 1, Active: 1, FirstSeq: 6, Done: true},
		{FirstSeq: 6, Done: true},
	} {
		w.equal(fmt.Sprint("step ", i), w.trim(id, before, 2), want)
		c := w.conversation(id)
		w.equal("first seq", c.FirstSeq, want.FirstSeq)
		w.equal("oldest", c.OldestAt, list[want.FirstSeq-1].CreatedAt)
		if want.Done {
			w.equal("after the last step", []any{c.TrimBefore, trimming()}, []any{time.Time{}, []im.ID(nil)})
			continue
		}
		w.equal("conversations being trimmed", trimming(), []im.ID{id})
		if !c.TrimBefore.After(list[4].CreatedAt) || c.TrimBefore.After(list[5].CreatedAt) {
			w.Fatalf("the cutoff is %v", c.TrimBefore)
		}
	}
	w.equal("receipts of trimmed messages", len(w.receiptsOf(im.Read, id, 3)), 0)
	w.equal("a range of receipts that ends later", len(w.receiptsOf(im.Delivered, id, 6)), 1)
	w.sameMessage(w.message(kept.ID), kept)
	next := w.send(w.text(id, "alice", "goes on"))
	w.equal("seq goes on", next.Seq, 8)

	w.equal("trim all", w.trimAll(id, w.now.Add(time.Hour), 100), 3)
	c := w.conversation(id)
	w.equal("first seq of the empty conversation", []any{c.FirstSeq, c.OldestAt}, []any{9, time.Time{}})
	w.equal("seq goes on", w.send(w.text(id, "alice", "a new message")).Seq, 9)
	err := w.store.Write(w.Context(), func(tx im.Tx) error {
		_, err := tx.Trim(1, w.now, 1, w.now)
		return err
	})
	w.notFound("trim an unknown conversation", err)
}

// testOldest checks the list of retention settings, and that of conversations by their oldest
// message, against a scan.
func testOldest(w *world) {
	random := rand.New(rand.NewPCG(73, 74))
	oldestMessage := func() (at time.Time) {
		w.view(func(r im.Reader) error {
			got, found, err := r.OldestMessage()
			if at = got; found == got.IsZero() {
				w.Fatalf("%v, %v", got, found)
			}
			return err
		})
		return at
	}
	w.equal("no messages", oldestMessage(), time.Time{})
	day := 24 * time.Hour
	var settings []*time.Duration
	for _, days := range []int{-1, 0, 3, 90} {
		keep := time.Duration(days) * day
		settings = append(settings, &keep)
	}
	settings[0] = nil
	of := map[int][]im.Conversation{}
	for range 40 {
		id := w.group(im.HistoryAll, "alice")
		n := random.IntN(len(settings))
		c := w.conversation(id)
		c.Retention = settings[n]
		w.write(func(tx im.Tx) error { return tx.UpdateConversation(c) })
		if random.IntN(5) == 0 {
			continue // without messages
		}
		w.now = epoch.Add(time.Duration(random.IntN(20)) * time.Hour) // some are equally old
		w.send(w.text(id, "alice", "said"))
		of[n] = append(of[n], w.conversation(id))
	}
	got := read(w, func(r im.Reader) ([]*time.Duration, error) { return r.Retentions() })
	seen := map[string]bool{}
	for _, g := range got {
		seen[setting(g)] = true
	}
	if len(got) != len(settings) || len(seen) != len(settings) {
		w.Fatalf("settings: %v", seen)
	}
	oldest := epoch.Add(1000 * time.Hour)
	for n, keep := range settings {
		if !seen[setting(keep)] {
			w.Fatalf("%s is missing", setting(keep))
		}
		slices.SortFunc(of[n], func(a, b im.Conversation) int {
			return cmp.Or(a.OldestAt.Compare(b.OldestAt), cmp.Compare(a.ID, b.ID))
		})
		oldest = minTime(oldest, of[n][0].OldestAt)
		before := epoch.Add(10 * time.Hour)
		var want []im.ID
		for _, c := range of[n] {
			if c.OldestAt.Before(before) {
				want = append(want, c.ID)
			}
		}
		var ids []im.ID
		var past *im.OldestKey
		for {
			page := read(w, func(r im.Reader) ([]im.Conversation, error) { return r.Oldest(keep, before, past, 3) })
			for _, c := range page {
				ids = append(ids, c.ID)
				past = &im.OldestKey{OldestAt: c.OldestAt, ID: c.ID}
			}
			if len(page) < 3 {
				break
			}
		}
		w.equal("by their oldest message", ids, want)
	}
	w.equal("the oldest message", oldestMessage(), oldest)
}

func setting(d *time.Duration) string {
	if d == nil {
		return "none"
	}
	return d.String()
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
