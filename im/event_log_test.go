package im_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

func TestTrimLog(t *testing.T) {
	policy := im.DefaultPolicy()
	policy.LogRetention = time.Hour
	w := newWorldWith(t, policy)
	for i := range 6 { // will be 0 to 50 minutes old
		w.say("alice", direct("bob"), fmt.Sprint(i))
		w.pass(10 * time.Minute)
	}
	events := w.committed() // one about the conversation, six about messages
	at := func(n int) im.Position { return events[n].Position }
	for _, test := range []struct {
		name    string
		pass    time.Duration
		removed int
		cut     im.Position
	}{
		{"the first two are an hour old, no older", 0, 0, 0},
		{"now they are older", time.Millisecond, 2, at(1)},
		{"again at the same time", 0, 0, at(1)},
		{"the third is an hour old, no older", 10*time.Minute - time.Millisecond, 0, at(1)},
		{"now it is older", time.Millisecond, 1, at(2)},
		{"two more are older", 20 * time.Minute, 2, at(4)},
		{"all are older", 24 * time.Hour, 2, at(6)},
		{"nothing is left", 24 * time.Hour, 0, at(6)},
	} {
		w.pass(test.pass)
		removed, err := w.TrimLog(w.ctx)
		w.must(err)
		bounds, err := w.LogBounds(w.ctx)
		w.must(err)
		if removed != test.removed || bounds.Cut != test.cut || bounds.Head != at(6) {
			t.Errorf("%s: removed %d, bounds %+v, want %d, cut %d, head %d",
				test.name, removed, bounds, test.removed, test.cut, at(6))
		}
		w.equal(test.name+": the rest", len(w.replay(as("bob"), bounds.Cut, 3)), int(at(6)-test.cut))
	}
	w.equal("the messages still exist", w.said("bob", direct("alice")), []string{"0", "1", "2", "3", "4", "5"})

	w.say("alice", direct("bob"), "after")
	bounds, err := w.LogBounds(w.ctx)
	w.must(err)
	w.equal("positions go on", bounds, im.LogBounds{Cut: at(6), Head: at(6) + 1})
}

// One call trims more than one transaction may: at most 1,000 events are trimmed in one, and
// fewer at first.
func TestTrimLogInBatches(t *testing.T) {
	const events = 2500
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice")
	w.must(w.store.Write(w.ctx, func(tx im.Tx) error {
		for range events {
			if _, err := tx.Append(im.Event{Type: im.ConversationUpdated, At: epoch, Conversation: id, Actor: "alice"}); err != nil {
				return err
			}
		}
		return nil
	}))
	w.pass(im.DefaultPolicy().LogRetention + time.Second)
	w.say("alice", byID(id), "young")
	writes := &countedStore{Store: w.store}
	trimmer := im.NewService(writes, im.DefaultPolicy(), w.clock)
	removed, err := trimmer.TrimLog(w.ctx)
	w.must(err)
	w.equal("removed", removed, events+1)
	if least := 3; writes.writes < least {
		t.Errorf("%d events took %d transactions, want %d at least", removed, writes.writes, least)
	}
	w.equal("the rest", w.received(as("alice")), []string{"message 1 young"})
}
