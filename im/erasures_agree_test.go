package im_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// erasedSince reads all pages of the list of erasures.
func (w *world) erasedSince(user im.UserID, since time.Time, limit int) (seqs []string, asOf time.Time) {
	w.Helper()
	q := im.ErasureQuery{Since: since, Limit: limit}
	for pages := 0; ; pages++ {
		page, err := w.Erased(w.ctx, as(user), q)
		w.must(err)
		if len(page.Items) > limit || pages > 1000 {
			w.Fatalf("%d on page %d of %d", len(page.Items), pages, limit)
		}
		for _, e := range page.Items {
			seqs = append(seqs, fmt.Sprintf("%v %d", e.Conversation, e.Seq))
		}
		if pages > 0 && !page.AsOf.Equal(asOf) {
			w.Errorf("as of %v, and before as of %v", page.AsOf, asOf)
		}
		asOf = page.AsOf
		if q.Past, q.AsOf = page.Next, page.AsOf; q.Past == nil {
			return seqs, asOf
		}
	}
}

// Whatever the clock does, erasures and hides after a list are on the next one, and those that were
// on the list are not.
func TestErasedContinuesFromAsOf(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	_, err := w.TrimLog(w.ctx)
	w.must(err)
	_, since := w.erasedSince("bob", time.Time{}, 10)
	w.equal("as of the beginning", since, epoch.Add(time.Millisecond))
	for i, step := range []time.Duration{0, time.Hour, -3 * time.Hour, 0, time.Millisecond, -time.Minute, 2 * time.Hour} {
		w.pass(step)
		gone, hidden := w.say("alice", byID(id), "gone"), w.say("alice", byID(id), "hidden")
		w.revoke("alice", gone.ID)
		w.hide("bob", byID(id), hidden.ID)
		lost, err := w.Lost(w.ctx, as("bob"), since)
		w.must(err)
		w.equal(fmt.Sprint("hidden since, ", i), len(lost.Hidden), 1)
		got, asOf := w.erasedSince("bob", since, 1)
		w.equal(fmt.Sprint("erased since, ", i), got, []string{fmt.Sprintf("%v %d", id, gone.Seq)})
		again, _ := w.erasedSince("bob", asOf, 10)
		w.equal("erased since then", len(again), 0)
		since = asOf
	}
	other := w.group(im.HistoryAll, "alice", "bob")
	w.pass(-time.Hour)
	w.must(w.DeleteConversation(w.ctx, as("alice"), byID(other)))
	lost, err := w.Lost(w.ctx, as("bob"), since)
	w.must(err)
	w.equal("deleted since", len(lost.Gone), 1)
}

// A user who rejoins a group gets the erasures that happened in their absence, whatever since they
// pass: those of messages that they could see, in the group and its threads.
func TestErasedWhileAway(t *testing.T) {
	for _, limit := range []int{1, 2, 100} {
		w := newWorld(t)
		group, other := w.group(im.HistoryJoined, "alice", "bob"), w.group(im.HistoryJoined, "alice", "bob")
		first, second := w.say("alice", byID(group), "first"), w.say("alice", byID(group), "second")
		root := w.say("alice", byID(group), "root")
		v, err := w.CreateThread(w.ctx, as("alice"), root.ID, im.ThreadDraft{Name: "thread"})
		w.must(err)
		reply := w.say("alice", byID(v.ID), "reply")
		w.revoke("alice", second.ID)
		elsewhere := w.say("alice", byID(other), "elsewhere")
		w.revoke("alice", elsewhere.ID)
		w.pass(time.Second)
		_, since := w.erasedSince("bob", time.Time{}, limit)
		w.remove(group, "alice", "bob")
		w.revoke("alice", first.ID)
		w.revoke("alice", reply.ID)
		unseen := w.say("alice", byID(group), "unseen")
		w.revoke("alice", unseen.ID)
		w.pass(time.Second)
		got, away := w.erasedSince("bob", since, limit)
		w.equal("while away", len(got), 0)
		w.pass(-time.Hour)
		w.add(group, "alice", im.Member, "bob")
		for name, since := range map[string]time.Time{"before leaving": since, "while away": away} {
			got, back := w.erasedSince("bob", since, limit)
			slices.Sort(got)
			got = slices.Compact(got)
			for seq, m := range map[string]im.Message{"first": first, "reply": reply} {
				if !slices.Contains(got, fmt.Sprintf("%v %d", m.Conversation, m.Seq)) {
					t.Errorf("by %d, since %s: %s is missing from %v", limit, name, seq, got)
				}
			}
			for seq, m := range map[string]im.Message{"unseen": unseen, "elsewhere": elsewhere} {
				if slices.Contains(got, fmt.Sprintf("%v %d", m.Conversation, m.Seq)) {
					t.Errorf("by %d, since %s: %s is in %v", limit, name, seq, got)
				}
			}
			again, _ := w.erasedSince("bob", back, limit)
			w.equal("after that", len(again), 0)
		}
	}
}
