package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

// testCreations checks that creations are found by creator and client_id, and forgotten after the
// deletion of their conversation, the longest deleted first.
func testCreations(w *world) {
	var ids []im.ID
	for i, creator := range []im.UserID{"alice", "alice", "bob"} {
		id := w.group(im.HistoryAll, creator, "carol")
		ids = append(ids, id)
		w.write(func(tx im.Tx) error {
			return tx.PutCreation(im.Creation{Creator: creator, ClientID: fmt.Sprint("c-", i%2), Conversation: id, Members: [32]byte{byte(i), 31: 7}})
		})
	}
	expect := func(what string, r im.Reader, creator im.UserID, clientID string, i int) {
		w.Helper()
		got, err := r.Creation(creator, clientID)
		if i < 0 {
			w.equal(what+" is unknown", errors.Is(err, im.ErrNotFound), true)
			return
		}
		w.must(err)
		w.equal(what, got, im.Creation{Creator: creator, ClientID: clientID, Conversation: ids[i], Members: [32]byte{byte(i), 31: 7}})
	}
	all := func(what string, first, second, third int) {
		w.Helper()
		read(w, func(r im.Reader) (struct{}, error) {
			expect(what+", the first", r, "alice", "c-0", first)
			expect(what+", the second", r, "alice", "c-1", second)
			expect(what+", the third", r, "bob", "c-0", third)
			expect(what+", another client_id", r, "bob", "c-1", -1)
			expect(what+", a member", r, "carol", "c-0", -1)
			expect(what+", an unknown user", r, "nobody", "c-0", -1)
			return struct{}{}, nil
		})
	}
	forget := func(before time.Time, limit int) (n int) {
		w.write(func(tx im.Tx) (err error) {
			n, err = tx.Forget(before, limit)
			return err
		})
		return n
	}
	all("created", 0, 1, 2)
	w.equal("forgotten of what exists", forget(w.tick().Add(1000*time.Hour), 10), 0)
	w.deleteConversation(ids[2])
	second := w.tick()
	w.deleteConversation(ids[0])
	all("deleted", 0, 1, 2)
	w.equal("forgotten before a time", forget(second, 10), 1)
	all("one is forgotten", 0, 1, -1)
	w.deleteConversation(ids[1])
	w.equal("forgotten up to a limit", forget(w.tick().Add(time.Hour), 1), 1)
	all("the longest deleted is forgotten", -1, 1, -1)
	w.equal("forgotten in the end", forget(w.tick().Add(time.Hour), 10), 1)
	all("all are forgotten", -1, -1, -1)
	again := w.group(im.HistoryAll, "alice")
	w.write(func(tx im.Tx) error {
		return tx.PutCreation(im.Creation{Creator: "alice", ClientID: "c-0", Conversation: again})
	})
	w.equal("a forgotten client_id is used again", read(w, func(r im.Reader) (im.ID, error) {
		c, err := r.Creation("alice", "c-0")
		return c.Conversation, err
	}), again)
}
