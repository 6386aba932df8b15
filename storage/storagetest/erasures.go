package storagetest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

// erasures reads all pages of erasures.
func (w *world) erasures(q im.ErasureQuery) (all []im.ErasedMessage, pages int) {
	w.Helper()
	for {
		page := read(w, func(r im.Reader) (im.ErasurePage, error) { return r.Erasures(q) })
		if len(page.Items) > q.Limit {
			w.Fatalf("%d on a page of %d", len(page.Items), q.Limit)
		}
		all = append(all, page.Items...)
		pages++
		if page.Next == nil {
			return all, pages
		}
		q.Past = page.Next
	}
}

// testErasures compares Erasures with a list: for an admin, for members, of whom one has left a
// group, and for a user without conversations.
func testErasures(w *world) {
	random := rand.New(rand.NewPCG(13, 14))
	users := []im.UserID{"alice", "bob", "carol"}
	members := map[im.ID]map[im.UserID]bool{}
	var groups []im.ID
	for i := range 4 {
		id := w.group(im.HistoryAll, users[:1+i%3]...)
		groups = append(groups, id)
		members[id] = map[im.UserID]bool{}
		for _, u := range users[:1+i%3] {
			members[id][u] = true
		}
	}
	var all []im.ErasedMessage
	var last time.Time
	for i := range 150 {
		m := w.text(groups[random.IntN(len(groups))], users[random.IntN(3)], "secret")
		m = w.send(m)
		if i%5 == 0 {
			continue
		}
		e := im.Erasure{State: im.Revoked, At: w.now.Add(-time.Second), By: "alice", Postscript: fmt.Sprint("p", i)}
		// Many erasures have the same time, and the clock is often set back.
		stamp := epoch.Add(time.Duration(i/5+random.IntN(9)) * time.Second)
		w.write(func(tx im.Tx) error {
			_, err := tx.Erase(m.ID, e, stamp)
			return err
		})
		if stamp.Before(last) {
			stamp = last
		}
		last = stamp
		all = append(all, im.ErasedMessage{Message: m.Tombstone(e), Stamp: stamp})
	}
	w.leave(groups[2], "bob")
	delete(members[groups[2]], "bob")
	slices.SortFunc(all, func(a, b im.ErasedMessage) int {
		return cmp.Or(a.Stamp.Compare(b.Stamp), cmp.Compare(a.ID, b.ID))
	})
	for _, user := range append([]im.UserID{"", "nobody"}, users...) {
		for _, since := range []time.Time{
			{},
			epoch.Add(10 * time.Second), epoch.Add(10*time.Second + time.Microsecond),
			epoch.Add(10*time.Second - time.Microsecond), epoch.Add(time.Hour),
		} {
			for _, limit := range []int{1, 7, 120, 500} {
				var want []im.ErasedMessage
				for _, e := range all {
					if (user == "" || members[e.Conversation][user]) && !e.Stamp.Before(since) {
						want = append(want, e)
					}
				}
				got, _ := w.erasures(im.ErasureQuery{User: user, Since: since, Limit: limit})
				w.equal(fmt.Sprintf("erasures for %q since %v in pages of %d", user, since, limit), keys(got), keys(want))
				for i := range got {
					w.sameMessage(got[i].Message, want[i].Message)
				}
			}
		}
	}
	// A page can start after a key that no erasure has. It never starts before Since.
	past := &im.ErasureKey{Stamp: epoch.Add(5 * time.Second), ID: 1 << 62}
	got, _ := w.erasures(im.ErasureQuery{Since: epoch.Add(20 * time.Second), Past: past, Limit: 9})
	whole, _ := w.erasures(im.ErasureQuery{Since: epoch.Add(20 * time.Second), Limit: 9})
	w.equal("past a key before since", keys(got), keys(whole))
	w.equal("no limit, no page", len(read(w, func(r im.Reader) (im.ErasurePage, error) {
		return r.Erasures(im.ErasureQuery{})
	}).Items), 0)
}

func keys(list []im.ErasedMessage) []im.ErasureKey {
	k := make([]im.ErasureKey, len(list))
	for i, e := range list {
		k[i] = im.ErasureKey{Stamp: e.Stamp, ID: e.ID}
	}
	return k
}

// testErasuresBounded checks that each page examines a bounded number of erasures, even if
// the user can see few of many.
func testErasuresBounded(w *world) {
	n := testsize.Pick(9000, 4500)
	busy, quiet := w.group(im.HistoryAll, "bob"), w.group(im.HistoryAll, "alice")
	var want []im.ErasureKey
	w.write(func(tx im.Tx) error {
		want = nil
		for i := range n {
			m := w.text(busy, "bob", "x")
			if i%4000 == 100 {
				m.Conversation = quiet
			}
			if _, err := tx.InsertMessage(m); err != nil {
				return err
			}
			stamp := epoch.Add(time.Duration(i/3) * time.Millisecond)
			if _, err := tx.Erase(m.ID, im.Erasure{State: im.Expired, At: stamp}, stamp); err != nil {
				return err
			}
			if m.Conversation == quiet {
				want = append(want, im.ErasureKey{Stamp: stamp, ID: m.ID})
			}
		}
		return nil
	})
	got, pages := w.erasures(im.ErasureQuery{User: "alice", Limit: 100})
	w.equal("erasures in the quiet conversation", keys(got), want)
	if pages < 2 || pages > 8 {
		w.Fatalf("%d pages for %d erasures", pages, n)
	}
	got, _ = w.erasures(im.ErasureQuery{User: "bob", Limit: 1000})
	w.equal("erasures in the busy conversation", len(got), n-len(want))
	got, _ = w.erasures(im.ErasureQuery{Limit: 1000})
	w.equal("all erasures", len(got), n)
}

// format formats erasures for comparison.
func format(list []im.ErasedMessage) (out []string) {
	for _, e := range list {
		out = append(out, fmt.Sprintf("%v %d %v %+v %v", e.ID, e.Seq, e.State, *e.Erased, e.Stamp))
	}
	return out
}

// testStamps checks that the stamp of a transaction is greater than all earlier stamps, whatever
// the clock says, and that the conversations to which a user has returned are found by it. It also
// checks the list of erasures in a conversation.
func testStamps(w *world) {
	stamped := func() time.Time {
		return read(w, func(r im.Reader) (time.Time, error) { return r.Stamped() })
	}
	w.equal("before any", stamped(), time.Time{})
	last := time.Time{}
	for _, at := range []time.Duration{time.Hour, 0, time.Hour, 2 * time.Hour, time.Minute} {
		var got time.Time
		w.write(func(tx im.Tx) (err error) {
			if got, err = tx.Stamp(epoch.Add(at)); err != nil {
				return err
			}
			again, err := tx.Stamp(epoch)
			w.equal("second stamp in a transaction", again, got)
			return err
		})
		want := epoch.Add(at)
		if !want.After(last) {
			want = last.Add(time.Millisecond)
		}
		w.equal("stamp", got, want)
		w.equal("the latest", stamped(), want)
		last = want
	}

	group, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	var want []im.ErasedMessage
	for i := range 6 {
		m := w.send(w.text(group, "alice", "secret"))
		if i%2 == 0 {
			e := im.Erasure{State: im.Revoked, At: w.now, By: "alice"}
			w.write(func(tx im.Tx) error { _, err := tx.Erase(m.ID, e, last); return err })
			want = append(want, im.ErasedMessage{Message: m.Tombstone(e), Stamp: last})
		}
	}
	in := func(id im.ID, after int64, limit int) []string {
		return format(read(w, func(r im.Reader) ([]im.ErasedMessage, error) { return r.ErasedIn(id, after, limit) }))
	}
	w.equal("erased in the group", in(group, 0, 10), format(want))
	w.equal("after one", in(group, 1, 10), format(want[1:]))
	w.equal("up to a limit", in(group, 0, 1), format(want[:1]))
	w.equal("another conversation", len(in(other, 0, 10)), 0)

	returned := func(since time.Time, after im.ID, limit int) []im.ID {
		return read(w, func(r im.Reader) ([]im.ID, error) { return r.ReturnedTo("bob", since, after, limit) })
	}
	w.equal("before returning", len(returned(epoch, 0, 10)), 0)
	thread := im.Conversation{
		ID: w.ids.Next(w.tick()), Kind: im.Thread, History: im.HistoryAll, FirstSeq: 1, Parent: group, Root: 1,
		CreatedAt: w.now, UpdatedAt: w.now, EditedAt: w.now,
	}
	w.write(func(tx im.Tx) error { return tx.CreateConversation(thread) })
	for i, id := range []im.ID{group, other} {
		w.leave(id, "bob")
		w.write(func(tx im.Tx) error {
			return tx.AddMember(im.Membership{
				Conversation: id, User: "bob", Role: im.Member, JoinedAt: w.now, ReturnedAt: last.Add(time.Duration(i) * time.Second),
			}, 1000)
		})
	}
	all := []im.ID{group, other, thread.ID}
	slices.Sort(all)
	w.equal("after returning", returned(last, math.MinInt64, 10), all)
	w.equal("after one", returned(last, all[0], 10), all[1:])
	w.equal("up to a limit", returned(last, math.MinInt64, 2), all[:2])
	w.equal("since a later stamp", returned(last.Add(time.Microsecond), math.MinInt64, 10), []im.ID{other})
	w.equal("another user", len(read(w, func(r im.Reader) ([]im.ID, error) { return r.ReturnedTo("alice", epoch, 0, 10) })), 0)
}
