package storagetest

import (
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

// blocked reports whether by has blocked user. A block is the smallest effect of a
// transaction.
func (w *world) blocked(by, user im.UserID) bool {
	w.Helper()
	return read(w, func(r im.Reader) (bool, error) { return r.Blocked(by, user) })
}

func testBlocks(w *world) {
	blocked := func(by, user im.UserID) bool {
		return read(w, func(r im.Reader) (bool, error) { return r.Blocked(by, user) })
	}
	if blocked("alice", "bob") {
		w.Fatal("blocked before PutBlock")
	}
	users := []im.UserID{"zoe", "Bob", "bob", "eve 2", "~"}
	w.write(func(tx im.Tx) error {
		for i, u := range users {
			if err := tx.PutBlock("alice", u, epoch.Add(time.Duration(i)*time.Second)); err != nil {
				return err
			}
		}
		if err := tx.PutBlock("alice", "zoe", epoch.Add(time.Hour)); err != nil {
			return err
		}
		return tx.PutBlock("bob", "carol", epoch)
	})
	if !blocked("alice", "bob") || blocked("bob", "alice") || blocked("alice", "carol") || blocked("nobody", "bob") {
		w.Fatal("a block affects another pair of users")
	}
	of := func(user im.UserID, users ...im.UserID) []im.UserID {
		return read(w, func(r im.Reader) ([]im.UserID, error) { return r.BlockedBy(users, user) })
	}
	w.equal("blockers among several", of("carol", "alice", "bob", "nobody", "bob", "carol"), []im.UserID{"bob"})
	w.equal("no blockers", len(of("carol"))+len(of("nobody", "alice", "bob"))+len(of("alice", "bob")), 0)
	want := []im.Block{
		{User: "Bob", At: epoch.Add(1 * time.Second)},
		{User: "bob", At: epoch.Add(2 * time.Second)},
		{User: "eve 2", At: epoch.Add(3 * time.Second)},
		{User: "zoe", At: epoch},
		{User: "~", At: epoch.Add(4 * time.Second)},
	}
	list := func(by im.UserID, after string, limit int) []im.Block {
		return read(w, func(r im.Reader) ([]im.Block, error) { return r.Blocks(by, im.Page{After: after, Limit: limit}) })
	}
	w.equal("all", list("alice", "", 100), want)
	w.equal("first", list("alice", "", 2), want[:2])
	w.equal("next", list("alice", "bob", 2), want[2:4])
	w.equal("last", list("alice", "zoe", 2), want[4:])
	w.equal("unknown user", len(list("nobody", "", 2)), 0)

	for range 2 {
		w.write(func(tx im.Tx) error { return tx.DeleteBlock("alice", "bob") })
		if blocked("alice", "bob") || !blocked("alice", "Bob") {
			w.Fatal("DeleteBlock has no effect, or deletes another block")
		}
	}
	w.write(func(tx im.Tx) error { return tx.DeleteBlock("nobody", "bob") })
}

func testTokenCuts(w *world) {
	cuts := func() []im.TokenCut {
		return read(w, func(r im.Reader) ([]im.TokenCut, error) { return r.TokenCuts(nil, 100) })
	}
	w.group(im.HistoryAll, "alice", "bob")
	w.equal("before", len(cuts()), 0)
	w.write(func(tx im.Tx) error {
		if err := tx.CutTokens(im.TokenCut{User: "alice", At: epoch}); err != nil {
			return err
		}
		return tx.CutTokens(im.TokenCut{User: "never seen", At: epoch})
	})
	w.write(func(tx im.Tx) error { return tx.CutTokens(im.TokenCut{User: "alice", At: epoch.Add(time.Hour)}) })
	w.equal("after", cuts(), []im.TokenCut{{User: "never seen", At: epoch}, {User: "alice", At: epoch.Add(time.Hour)}})

	// Pages and forgetting are in the order of times, and of users for the same time.
	w.write(func(tx im.Tx) error {
		for _, user := range []im.UserID{"d", "b", "c"} {
			if err := tx.CutTokens(im.TokenCut{User: user, At: epoch.Add(time.Minute)}); err != nil {
				return err
			}
		}
		return nil
	})
	want := []im.UserID{"never seen", "b", "c", "d", "alice"}
	for _, limit := range []int{1, 2, 5, 10} {
		var got []im.UserID
		for after := (*im.TokenCut)(nil); ; {
			page := read(w, func(r im.Reader) ([]im.TokenCut, error) { return r.TokenCuts(after, limit) })
			for _, cut := range page {
				got = append(got, cut.User)
			}
			if len(page) < limit {
				break
			}
			after = &page[len(page)-1]
		}
		w.equal(fmt.Sprint("pages of ", limit), got, want)
	}
	forget := func(before time.Time, limit int) (n int) {
		w.write(func(tx im.Tx) (err error) {
			n, err = tx.ForgetCuts(before, limit)
			return err
		})
		return n
	}
	forgotten := func() time.Time { return read(w, im.Reader.ForgottenCut) }
	w.equal("none is old enough", []any{forget(epoch, 10), forgotten()}, []any{0, time.Time{}})
	w.equal("two", []any{forget(epoch.Add(time.Hour), 2), forgotten()}, []any{2, epoch.Add(time.Minute)})
	w.equal("two more", []any{forget(epoch.Add(time.Hour), 10), forgotten()}, []any{2, epoch.Add(time.Minute)})
	w.equal("left", cuts(), []im.TokenCut{{User: "alice", At: epoch.Add(time.Hour)}})
	w.write(func(tx im.Tx) error { return tx.CutTokens(im.TokenCut{User: "b", At: epoch}) })
	w.equal("after the clock was set back", []any{forget(epoch.Add(time.Second), 10), forgotten()}, []any{1, epoch.Add(time.Minute)})
}
