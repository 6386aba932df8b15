package storagetest

import (
	"time"

	"github.com/imapi/imapi/im"
)

// testMutes checks that a mute is per user and conversation, that it survives leaving, and
// that it ends when it is deleted or its conversation is purged.
func testMutes(w *world) {
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice", "bob")
	mute := func(user im.UserID, until time.Time) {
		w.Helper()
		w.write(func(tx im.Tx) error { return tx.PutMute(id, user, until) })
	}
	for _, until := range []time.Time{{}, epoch.Add(time.Hour), im.MutedForGood, epoch} {
		mute("bob", until)
		w.equal("until", w.membership(id, "bob").MutedUntil, until)
		for _, m := range read(w, func(r im.Reader) ([]im.Membership, error) { return r.Members(id, im.Page{Limit: 9}) }) {
			want := time.Time{}
			if m.User == "bob" {
				want = until
			}
			w.equal("mute in the list of members, of "+string(m.User), m.MutedUntil, want)
		}
		w.equal("another conversation", w.membership(other, "bob").MutedUntil, time.Time{})
	}
	w.leave(id, "bob")
	w.equal("after leaving", w.membership(id, "bob").MutedUntil, epoch)
	w.join(id, "bob")
	w.equal("after rejoining", w.membership(id, "bob").MutedUntil, epoch)
	mute("bob", time.Time{})
	mute("bob", time.Time{})
	mute("nobody", time.Time{})
	w.equal("ended", w.membership(id, "bob").MutedUntil, time.Time{})

	mute("never seen", im.MutedForGood)
	w.join(id, "never seen")
	w.equal("muted before joining", w.membership(id, "never seen").MutedUntil, im.MutedForGood)
	w.deleteConversation(id)
	w.purgeAll(id, 10, w.now)
	w.equal("after the purge", w.membership(id, "never seen").MutedUntil, time.Time{})
}
