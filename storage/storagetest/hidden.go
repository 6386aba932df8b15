package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// hide hides a range and returns the parts of it that were not hidden before.
func (w *world) hide(id im.ID, user im.UserID, from, to int64, at time.Time) (fresh []im.SeqRange) {
	w.Helper()
	w.write(func(tx im.Tx) (err error) {
		fresh, err = tx.Hide(id, user, im.SeqRange{From: from, To: to}, at)
		return err
	})
	return fresh
}

func (w *world) hiddenBy(m im.Message) []im.UserID {
	w.Helper()
	return read(w, func(r im.Reader) ([]im.UserID, error) { return r.HiddenBy(m) })
}

// testHidden compares messages hidden by id with a set, and checks HiddenBy for messages
// that are hidden in any way.
func testHidden(w *world) {
	random := rand.New(rand.NewPCG(21, 22))
	const n = 120
	users := []im.UserID{"alice", "bob", "carol"}
	id := w.group(im.HistoryAll, users...)
	w.fill(id, n, func(i int) im.UserID { return users[i/20%3] }) // includes runs of own messages
	all := make([]im.Message, n)
	for i := range all {
		all[i] = w.history(id, int64(i+1))
	}
	w.equal("before", len(w.hiddenBy(all[5])), 0)
	has := map[im.UserID]map[int64]bool{"alice": {}, "bob": {}, "carol": {}}
	for i := range 120 {
		user := users[random.IntN(3)]
		from := 1 + random.Int64N(n)
		to := min(n, from+random.Int64N(3))
		var want []im.SeqRange
		for seq := from; seq <= to; seq++ {
			if has[user][seq] {
				continue
			}
			has[user][seq] = true
			if last := len(want) - 1; last >= 0 && want[last].To == seq-1 {
				want[last].To = seq
			} else {
				want = append(want, im.SeqRange{From: seq, To: seq})
			}
		}
		w.equal("fresh", w.hide(id, user, from, to, epoch.Add(time.Duration(i)*time.Second)), want)
		from, to = 1+random.Int64N(n), 1+random.Int64N(n)
		part := read(w, func(r im.Reader) ([]im.SeqRange, error) {
			return r.HiddenIn(id, user, im.SeqRange{From: from, To: to})
		})
		w.equal("HiddenIn a range", seqsOf(part), seqsWhere(from, to, func(seq int64) bool { return has[user][seq] }))
	}
	w.put(im.Read, id, "alice", 1, n, w.tick()) // read ranges must not count as hidden
	up, before := int64(10), all[60].CreatedAt
	w.putMark(id, "bob", im.Mark{HiddenSeq: up, HiddenAt: w.now, ChangedAt: w.now})
	w.putMark(id, "carol", im.Mark{HiddenBefore: before, HiddenAt: w.now, ChangedAt: w.now})
	for _, m := range all {
		var want []im.UserID
		for _, user := range users {
			got := read(w, func(r im.Reader) (bool, error) { return r.Hidden(id, user, m.Seq) })
			w.equal(fmt.Sprintf("%s has hidden %d", user, m.Seq), got, has[user][m.Seq])
			if got || user == "bob" && m.Seq <= up || user == "carol" && m.CreatedAt.Before(before) {
				want = append(want, user)
			}
		}
		w.equal(fmt.Sprint("users who have hidden ", m.Seq), w.hiddenBy(m), want)
	}
	w.equal("not a member", read(w, func(r im.Reader) (bool, error) { return r.Hidden(id, "nobody", 5) }), false)
}

func testHiddenSince(w *world) {
	a, b := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	for _, id := range []im.ID{a, b} {
		w.fill(id, 10, func(int) im.UserID { return "bob" })
	}
	since := func(user im.UserID, at time.Time, limit int) []im.HiddenPart {
		w.Helper()
		return read(w, func(r im.Reader) ([]im.HiddenPart, error) { return r.HiddenSince(user, at, limit) })
	}
	w.equal("before", len(since("alice", epoch, 10)), 0)
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	w.hide(a, "alice", 3, 4, at(1))
	w.hide(b, "alice", 9, 9, at(3))
	w.hide(a, "bob", 1, 9, at(3))
	w.putMark(a, "alice", im.Mark{HiddenSeq: 2, HiddenBefore: at(-1), HiddenAt: at(4), ChangedAt: at(9)})
	w.putMark(b, "alice", im.Mark{Muted: true, ClearedSeq: 9, HiddenBefore: at(-2), HiddenAt: at(2), ChangedAt: at(9)})
	want := []im.HiddenPart{
		{Conversation: a, At: at(4), Range: im.SeqRange{From: 1, To: 2}},
		{Conversation: a, At: at(4), Before: at(-1)},
		{Conversation: b, At: at(3), Range: im.SeqRange{From: 9, To: 9}},
		{Conversation: b, At: at(2), Before: at(-2)},
		{Conversation: a, At: at(1), Range: im.SeqRange{From: 3, To: 4}},
	}
	w.equal("all", since("alice", epoch, 10), want)
	w.equal("some", since("alice", epoch, 3), want[:3])
	w.equal("since", since("alice", at(2), 10), want[:4])
	w.equal("since a moment later", since("alice", at(2).Add(time.Microsecond), 10), want[:3])
	w.equal("unknown user", len(since("nobody", epoch, 10)), 0)
}

// goneSince calls GoneSince and checks whether it reports correctly that there is more.
func (w *world) goneSince(user im.UserID, at time.Time, limit int) (list []im.GoneConversation) {
	w.Helper()
	w.view(func(r im.Reader) error {
		all, more, err := r.GoneSince(user, at, 1000)
		w.must(err)
		w.equal("more after all", more, false)
		list, more, err = r.GoneSince(user, at, limit)
		w.equal("more", more, len(all) > limit)
		return err
	})
	return list
}

func testGoneSince(w *world) {
	var ids []im.ID
	for range 6 {
		ids = append(ids, w.group(im.HistoryAll, "alice", "bob"))
	}
	since := func(user im.UserID, at time.Time, limit int) []im.GoneConversation {
		w.Helper()
		return w.goneSince(user, at, limit)
	}
	w.equal("before", len(since("alice", epoch, 10)), 0)
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	deleteAt := func(id im.ID, at time.Time) {
		w.Helper()
		w.write(func(tx im.Tx) error {
			pos, err := tx.Append(im.Event{Type: im.ConversationDeleted, At: at, Conversation: id, Actor: "bob"})
			if err != nil {
				return err
			}
			return tx.DeleteConversation(id, at, pos)
		})
	}
	w.send(w.text(ids[0], "bob", "hi"))
	w.putMark(ids[0], "alice", im.Mark{Gone: true, GoneCounted: 1, ChangedAt: at(1)})
	w.putMark(ids[1], "alice", im.Mark{Gone: true, ChangedAt: at(2)})
	w.send(w.text(ids[1], "bob", "shows it again"))
	w.putMark(ids[2], "alice", im.Mark{Gone: true, ChangedAt: at(5)})
	quiet := w.text(ids[2], "bob", "does not show it again")
	quiet.Quiet = true
	w.send(quiet)
	w.leave(ids[3], "alice")
	deleteAt(ids[3], at(3)) // alice is no longer a member
	w.leave(ids[4], "alice")
	w.join(ids[4], "alice")
	deleteAt(ids[4], at(4))
	deleteAt(ids[5], at(6))

	want := []im.GoneConversation{
		{Conversation: ids[5], At: at(6), Deleted: true},
		{Conversation: ids[2], At: at(5)},
		{Conversation: ids[4], At: at(4), Deleted: true},
		{Conversation: ids[0], At: at(1)},
	}
	w.equal("all", since("alice", epoch, 10), want)
	w.equal("some", since("alice", epoch, 2), want[:2])
	w.equal("since", since("alice", at(4), 10), want[:3])
	w.equal("a user who hid none", len(since("bob", epoch, 10)), 3)
	w.equal("unknown user", len(since("nobody", epoch, 10)), 0)

	listed := w.list(im.ConversationQuery{User: "alice", AsOf: at(60), Limit: 10, Hidden: true})
	got := []im.ID{}
	for _, c := range listed {
		got = append(got, c.ID)
	}
	slices.Sort(got)
	w.equal("remaining conversations", got, []im.ID{ids[0], ids[1], ids[2]})
}
