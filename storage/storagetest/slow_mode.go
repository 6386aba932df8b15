package storagetest

import (
	"time"

	"github.com/imapi/imapi/im"
)

// timeOf reads a time that may not exist. It is zero if and only if it was not found.
func (w *world) timeOf(fn func(im.Reader) (at time.Time, found bool, err error)) time.Time {
	w.Helper()
	return read(w, func(r im.Reader) (time.Time, error) {
		at, found, err := fn(r)
		if found == at.IsZero() {
			w.Errorf("found %t at %v", found, at)
		}
		return at, err
	})
}

func testSpoke(w *world) {
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice")
	spoke := func(id im.ID, user im.UserID) time.Time {
		w.Helper()
		return w.timeOf(func(r im.Reader) (time.Time, bool, error) { return r.Spoke(id, user) })
	}
	w.equal("before", spoke(id, "alice"), time.Time{})
	for n := range 2 {
		at := epoch.Add(time.Duration(n) * time.Second)
		w.write(func(tx im.Tx) error { return tx.PutSpoke(id, "alice", at) })
		w.equal("after PutSpoke", spoke(id, "alice"), at)
	}
	w.equal("another user", spoke(id, "bob"), time.Time{})
	w.equal("another conversation", spoke(other, "alice"), time.Time{})
	w.equal("unknown user", spoke(id, "nobody"), time.Time{})
	w.deleteConversation(id)
	w.purgeAll(id, 100, w.now)
	w.equal("after the purge", spoke(id, "alice"), time.Time{})
}

func testLastSent(w *world) {
	id, other := w.group(im.HistoryAll, "alice", "bob"), w.group(im.HistoryAll, "alice")
	last := func(id im.ID, user im.UserID) time.Time {
		w.Helper()
		return w.timeOf(func(r im.Reader) (time.Time, bool, error) { return r.LastSent(id, user) })
	}
	w.equal("before", last(id, "alice"), time.Time{})
	first := w.send(w.text(id, "alice", "said"))
	second := w.send(w.text(id, "alice", "said"))
	quiet := w.text(id, "alice", "inserted")
	quiet.Quiet = true
	w.send(quiet)
	bob := w.send(w.text(id, "bob", "said"))
	w.equal("the newest that is not quiet", last(id, "alice"), second.CreatedAt)
	w.equal("another user", last(id, "bob"), bob.CreatedAt)
	w.equal("another conversation", last(other, "alice"), time.Time{})
	w.equal("unknown user", last(id, "nobody"), time.Time{})
	w.erase(second.ID, im.Erasure{State: im.Revoked, At: w.now, By: "alice"})
	if got := last(id, "alice"); !got.Equal(second.CreatedAt) || got.Equal(first.CreatedAt) {
		w.Fatal("an erased message does not count as the last sent")
	}
}
