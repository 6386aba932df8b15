package storagetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// remembered is what a store remembers about trimmed and purged messages.
type remembered struct {
	IDs  []im.ID
	Keys []im.ClientKey
	At   []im.GoneMessage
}

// testRemembered checks that the ids, client_ids and times of messages that are trimmed or
// purged are remembered from the same transaction on, until they are forgotten, the oldest
// first.
func testRemembered(w *world) {
	trimmed, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	peers := im.PeersOf("alice", "bob")
	direct := w.ids.Next(w.tick())
	w.write(func(tx im.Tx) error {
		return makeGroup(tx, im.Conversation{
			ID: direct, Kind: im.Direct, History: im.HistoryAll, Peers: peers, CreatedAt: w.now, UpdatedAt: w.now,
		}, []im.UserID{"alice", "bob"})
	})
	var all []im.Message
	for i, id := range []im.ID{trimmed, trimmed, trimmed, direct, direct, other} {
		m := w.text(id, "alice", "hi")
		if i%2 == 0 {
			m.ClientID = fmt.Sprint("c-", i)
		}
		all = append(all, w.send(m))
	}
	ask := func(r im.Reader) (got remembered, err error) {
		var ids []im.ID
		keys := []im.ClientKey{{Sender: "nobody", ClientID: "c-0"}, {Sender: "bob", ClientID: "c-0"}}
		times := []im.SentKey{{Sender: "nobody", At: all[1].CreatedAt}, {Sender: "alice", At: all[1].CreatedAt.Add(-time.Hour)}}
		for _, m := range all {
			ids = append(ids, m.ID)
			keys = append(keys, im.ClientKey{Sender: "alice", ClientID: m.ClientID})
			times = append(times, im.SentKey{Sender: "alice", At: m.CreatedAt})
		}
		if got.IDs, err = r.Gone(ids); err != nil {
			return got, err
		}
		slices.Sort(got.IDs)
		if got.Keys, err = r.GoneAs(keys); err != nil {
			return got, err
		}
		got.At, err = r.GoneAt(times)
		return got, err
	}
	// expect checks that exactly the messages with the given indexes are remembered.
	expect := func(what string, got remembered, indexes ...int) {
		w.Helper()
		var want remembered
		for _, i := range indexes {
			m := all[i]
			want.IDs = append(want.IDs, m.ID)
			want.At = append(want.At, im.GoneMessage{SentKey: im.SentKey{Sender: "alice", At: m.CreatedAt}, Conversation: m.Conversation})
			if m.ClientID != "" {
				want.Keys = append(want.Keys, im.ClientKey{Sender: "alice", ClientID: m.ClientID})
			}
		}
		w.equal(what, got, want)
	}
	first := w.tick()
	w.step("trimming", func() {
		expect("at first", read(w, ask))
		var within remembered
		w.write(func(tx im.Tx) (err error) {
			if _, err := tx.Trim(trimmed, all[2].CreatedAt, 1, first); err != nil {
				return err
			}
			within, err = ask(tx)
			return err
		})
		expect("in the same transaction", within, 0)
		expect("after one step", read(w, ask), 0)
		second := w.tick()
		for done := false; !done; {
			w.write(func(tx im.Tx) error {
				step, err := tx.Trim(trimmed, all[2].CreatedAt, 10, second)
				done = step.Done
				return err
			})
		}
		expect("trimmed", read(w, ask), 0, 1)
	})

	directs := func() []im.ID {
		return read(w, func(r im.Reader) ([]im.ID, error) { return r.GoneDirects(peers) })
	}
	w.step("deleting a conversation", func() {
		w.equal("before the deletion", directs(), []im.ID(nil))
		w.deleteConversation(direct)
		w.equal("after the deletion", directs(), []im.ID{direct})
		expect("before the purge", read(w, ask), 0, 1)
	})
	forget := func(before time.Time, limit int) (n int) {
		w.write(func(tx im.Tx) (err error) {
			n, err = tx.Forget(before, limit)
			return err
		})
		return n
	}
	third := w.tick()
	w.step("purging it", func() {
		w.equal("nothing is old enough", forget(first, 10), 0)
		w.purgeAll(direct, 10, third)
		expect("purged", read(w, ask), 0, 1, 3, 4)
	})

	w.step("forgetting", func() {
		w.equal("forget the oldest", forget(third, 1), 1)
		expect("forgotten", read(w, ask), 1, 3, 4)
		w.equal("forget those before a time", forget(third, 10), 1)
		expect("forgotten", read(w, ask), 3, 4)
		w.equal("forget messages and conversation", forget(third.Add(time.Millisecond), 10), 3)
		expect("all forgotten", read(w, ask))
		w.equal("all forgotten", directs(), []im.ID(nil))
		w.equal("GoneAt without keys", len(read(w, func(r im.Reader) ([]im.GoneMessage, error) { return r.GoneAt(nil) })), 0)
	})
}
