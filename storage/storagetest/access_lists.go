package storagetest

import (
	"time"

	"github.com/imapi/imapi/im"
)

func testLists(w *world) {
	id, other := w.channel(w.space("alice")), w.make(im.Conversation{Kind: im.Room}, "alice")
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	on := func(id im.ID, list im.List, user im.UserID) bool {
		return read(w, func(r im.Reader) (bool, error) { return r.OnList(id, list, user) })
	}
	listed := func(id im.ID, list im.List, after string, limit int) []im.Listing {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.Listing, error) {
			return r.Listed(id, list, im.Page{After: after, Limit: limit})
		})
	}
	w.equal("before", []any{on(id, im.AllowList, "bob"), len(listed(id, im.AllowList, "", 9))}, []any{false, 0})
	users := []im.UserID{"zoe", "Bob", "bob", "eve 2", "~"}
	w.write(func(tx im.Tx) error {
		for i, u := range users {
			if err := tx.PutListed(id, im.AllowList, u, at(i), im.Position(10+i)); err != nil {
				return err
			}
		}
		if err := tx.PutListed(id, im.AllowList, "zoe", at(99), 50); err != nil { // already on the list
			return err
		}
		if err := tx.PutListed(id, im.DenyList, "carol", at(7), 51); err != nil {
			return err
		}
		return tx.PutListed(other, im.DenyList, "bob", at(8), 52)
	})
	want := []im.Listing{{User: "Bob", At: at(1)}, {User: "bob", At: at(2)}, {User: "eve 2", At: at(3)}, {User: "zoe", At: at(0)}, {User: "~", At: at(4)}}
	w.equal("all", listed(id, im.AllowList, "", 100), want)
	w.equal("first", listed(id, im.AllowList, "", 2), want[:2])
	w.equal("next", listed(id, im.AllowList, "bob", 2), want[2:4])
	w.equal("last", listed(id, im.AllowList, "zoe", 2), want[4:])
	w.equal("the other list", listed(id, im.DenyList, "", 9), []im.Listing{{User: "carol", At: at(7)}})
	w.equal("another conversation", listed(other, im.DenyList, "", 9), []im.Listing{{User: "bob", At: at(8)}})
	for who, is := range map[im.UserID]bool{"bob": true, "carol": false, "nobody": false} {
		w.equal("OnList "+string(who), on(id, im.AllowList, who), is)
	}
	for range 2 {
		w.write(func(tx im.Tx) error { return tx.EndListed(id, im.AllowList, "bob", 60) })
		w.equal("ended", []any{on(id, im.AllowList, "bob"), on(id, im.AllowList, "Bob"), on(other, im.DenyList, "bob")}, []any{false, true, true})
	}
	// A user who is put back by the event that ended the entry is on the list.
	w.write(func(tx im.Tx) error {
		for _, from := range []im.Position{61, 61, 70} {
			if err := tx.PutListed(id, im.AllowList, "bob", at(9), from); err != nil {
				return err
			}
			if err := tx.EndListed(id, im.AllowList, "bob", from); err != nil {
				return err
			}
		}
		return tx.PutListed(id, im.AllowList, "bob", at(11), 70)
	})
	want[1].At = at(11)
	w.equal("again", listed(id, im.AllowList, "", 100), want)
}
