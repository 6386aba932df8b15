package storagetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// putMark stores a mark.
func (w *world) putMark(id im.ID, user im.UserID, m im.Mark) {
	w.Helper()
	w.write(func(tx im.Tx) error { return tx.PutMark(id, user, m) })
}

func testMarks(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	w.equal("before", w.membership(id, "alice").Mark, im.Mark{})
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	for _, m := range []im.Mark{
		{PinnedAt: at(1), ChangedAt: at(1)},
		{Muted: true, ChangedAt: at(2)},
		{ClearedSeq: 7, HiddenSeq: 5, HiddenAt: at(3), ChangedAt: at(4)},
		{HiddenBefore: at(-9), HiddenAt: at(5), Gone: true, GoneCounted: 0, ChangedAt: at(5)},
		{
			PinnedAt: at(6), Muted: true, ClearedSeq: 1, HiddenSeq: 2, HiddenBefore: at(7), HiddenAt: at(8),
			Gone: true, GoneCounted: 1 << 40, ChangedAt: at(9),
		},
		{ChangedAt: at(10)},
	} {
		w.putMark(id, "alice", m)
		if got := w.membership(id, "alice").Mark; got != m {
			w.Fatalf("got %+v, want %+v", got, m)
		}
		w.equal("another member", w.membership(id, "bob").Mark, im.Mark{})
	}
	// A mark is kept when its user leaves and rejoins.
	w.putMark(id, "alice", im.Mark{Muted: true, ChangedAt: at(11)})
	w.leave(id, "alice")
	w.equal("after leaving", w.membership(id, "alice").Mark.Muted, true)
	w.join(id, "alice")
	w.equal("after rejoining", w.membership(id, "alice").Mark.Muted, true)
	w.equal("stays", len(w.membership(id, "alice").Intervals), 2)
}

func testEveryMembership(w *world) {
	var names []im.UserID
	for i := range 12 {
		names = append(names, im.UserID(fmt.Sprint("user ", 11-i)))
	}
	id, other := w.group(im.HistoryAll, names...), w.group(im.HistoryAll, "zoe")
	for i, name := range names {
		if i%2 == 0 {
			w.leave(id, name)
		}
		if i%4 == 0 {
			w.join(id, name)
			w.leave(id, name)
		}
		if i == 8 {
			w.join(id, name)
		}
	}
	slices.Sort(names)
	for _, limit := range []int{1, 5, 12, 100} {
		var got []im.UserID
		for after := im.UserID(""); ; {
			page := read(w, func(r im.Reader) ([]im.Membership, error) { return r.EveryMembership(id, after, limit) })
			for _, m := range page {
				w.equal("membership", m, w.membership(id, m.User))
				got = append(got, m.User)
			}
			if len(page) < limit {
				break
			}
			after = page[limit-1].User
		}
		w.equal("all", got, names)
	}
	got := read(w, func(r im.Reader) ([]im.ID, error) { return r.ConversationIDs(0, 10) })
	w.equal("conversations", got, []im.ID{id, other})
	got = read(w, func(r im.Reader) ([]im.ID, error) { return r.ConversationIDs(id, 10) })
	w.equal("after the first", got, []im.ID{other})
	got = read(w, func(r im.Reader) ([]im.ID, error) { return r.ConversationIDs(0, 1) })
	w.equal("up to one", got, []im.ID{id})
	for user, want := range map[im.UserID][]im.ID{"user 2": {id}, "user 1": nil, "zoe": {other}, "nobody": nil} {
		w.equal("conversations of "+string(user), w.conversationsOf(user), want)
	}
}

// testMarksOfNonMembers checks that a user without a membership can have a mark.
func testMarksOfNonMembers(w *world) {
	channel := w.channel(w.space("alice", "bob"))
	mark := func(user im.UserID) im.Mark {
		return read(w, func(r im.Reader) (im.Mark, error) { return r.Mark(channel, user) })
	}
	want := im.Mark{Muted: true, ClearedSeq: 3, ChangedAt: epoch}
	w.putMark(channel, "alice", want)
	for user, want := range map[im.UserID]im.Mark{"alice": want, "bob": {}, "nobody": {}} {
		if got := mark(user); got != want {
			w.Fatalf("mark of %s: got %+v, want %+v", user, got, want)
		}
	}
}

func testMuting(w *world) {
	id := w.group(im.HistoryAll, "alice", "bob")
	muting := func(users ...im.UserID) []im.UserID {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.UserID, error) { return r.Muting(id, users) })
	}
	w.putMark(id, "alice", im.Mark{ChangedAt: epoch})
	w.putMark(id, "bob", im.Mark{Muted: true, ChangedAt: epoch})
	w.equal("among three", muting("alice", "bob", "unknown"), []im.UserID{"bob"})
	w.equal("among none", len(muting()), 0)
}
