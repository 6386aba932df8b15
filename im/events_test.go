package im_test

import (
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
)

// replay reads a user's events after a position, in windows of limit, and checks the invariants of
// each window.
func (w *world) replay(actor im.Actor, after im.Position, limit int) []im.Event {
	w.Helper()
	bounds, err := w.LogBounds(w.ctx)
	w.must(err)
	var all []im.Event
	for after < bounds.Head {
		window, err := w.Events(w.ctx, actor, after, bounds.Head, limit)
		w.must(err)
		if window.Through <= after || window.Through > bounds.Head || len(window.Events) > limit {
			w.Fatalf("%d events through %d of (%d, %d]", len(window.Events), window.Through, after, bounds.Head)
		}
		for _, e := range window.Events {
			if e.Position <= after || e.Position > window.Through {
				w.Fatalf("position %d after %d in a window through %d", e.Position, after, window.Through)
			}
			after = e.Position
		}
		all = append(all, window.Events...)
		after = window.Through
	}
	return all
}

// received describes all events of a user briefly. A missing message is a dash.
func (w *world) received(actor im.Actor) []string {
	w.Helper()
	var out []string
	for _, e := range w.replay(actor, 0, 3) {
		switch {
		case e.Type == im.MessageCreated && e.Message == nil:
			out = append(out, fmt.Sprintf("message %d -", e.Seq))
		case e.Type == im.MessageCreated:
			out = append(out, fmt.Sprintf("message %d %s", e.Seq, words(*e.Message)))
		case e.User != "":
			out = append(out, fmt.Sprintf("%s %s", e.Type, e.User))
		default:
			out = append(out, string(e.Type))
		}
	}
	return out
}

// TestRecipientsInAGroup checks who receives which events of one group on replay.
func TestRecipientsInAGroup(t *testing.T) {
	for _, history := range []im.History{im.HistoryJoined, im.HistoryAll} {
		t.Run(history.String(), func(t *testing.T) {
			w := newWorld(t)
			id := w.group(history, "alice", "bob")
			w.say("alice", byID(id), "one")
			w.add(id, "alice", im.Member, "carol")
			w.say("bob", byID(id), "two")
			w.remove(id, "alice", "bob")
			w.say("alice", byID(id), "three")
			w.must(w.Leave(w.ctx, as("carol"), byID(id)))
			w.say("alice", byID(id), "four")
			w.add(id, "alice", im.Member, "bob")
			w.say("alice", byID(id), "five")

			for user, want := range map[im.UserID][]string{
				"alice": {
					"conversation.created", "message 1 one", "member.added carol", "message 2 two", "member.removed bob",
					"message 3 three", "member.removed carol", "message 4 four", "member.added bob", "message 5 five",
				},
				// They left and returned: they receive both events, and nothing in between.
				"bob": {
					"conversation.created", "message 1 one", "member.added carol", "message 2 two", "member.removed bob",
					"member.added bob", "message 5 five",
				},
				// After the end of their stay, the events that they received remain, without the
				// messages.
				"carol": {
					"member.added carol", "message 2 -", "member.removed bob", "message 3 -", "member.removed carol",
				},
				"dave": nil,
			} {
				w.equal(string(user), w.received(as(user)), want)
			}
		})
	}
}

// The acting device does not receive the event; the user's other devices do.
func TestActingDeviceReceivesNothing(t *testing.T) {
	w := newWorld(t)
	phone, laptop := on("alice", "phone"), on("alice", "laptop")
	_, err := w.Send(w.ctx, phone, direct("bob"), text("from the phone"))
	w.must(err)
	_, err = w.Send(w.ctx, laptop, direct("bob"), text("from the laptop"))
	w.must(err)
	_, err = w.Send(w.ctx, on("bob", "phone"), direct("alice"), text("from bob"))
	w.must(err)
	_, err = w.Send(w.ctx, as("alice"), direct("bob"), text("from nowhere"))
	w.must(err)
	const created, one, two, three, four = "conversation.created", "message 1 from the phone",
		"message 2 from the laptop", "message 3 from bob", "message 4 from nowhere"
	for _, test := range []struct {
		actor im.Actor
		want  []string
	}{
		{phone, []string{two, three, four}},
		{laptop, []string{created, one, three, four}},
		{on("alice", "tablet"), []string{created, one, two, three, four}},
		{as("alice"), []string{created, one, two, three, four}},
		{on("bob", "phone"), []string{created, one, two, four}},
		{on("bob", "laptop"), []string{created, one, two, three, four}},
	} {
		w.equal(fmt.Sprintf("%s on %q", test.actor.User, test.actor.Device), w.received(test.actor), test.want)
	}
}

// A window with only events of the actor's own device is empty, and still advances.
func TestWindowOfNothing(t *testing.T) {
	w := newWorld(t)
	phone := on("alice", "phone")
	for i := range 20 {
		_, err := w.Send(w.ctx, phone, direct("bob"), text("%d", i))
		w.must(err)
	}
	w.equal("alice's phone", len(w.replay(phone, 0, 5)), 0)
	w.equal("bob", len(w.replay(as("bob"), 0, 5)), 21)
	w.equal("a stranger", len(w.replay(as("carol"), 0, 5)), 0)
	head := w.committed()[20].Position
	window, err := w.Events(w.ctx, as("bob"), head, head, 5)
	w.must(err)
	w.equal("after the end", window, im.EventWindow{Through: head})
	window, err = w.Events(w.ctx, as("bob"), head-3, head-1, 5)
	w.must(err)
	w.equal("between two positions", len(window.Events), 2)
}

func TestMembersAt(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	w.add(id, "alice", im.Member, "carol")
	w.remove(id, "alice", "bob")
	w.say("alice", byID(id), "hi")
	want := []string{"alice bob", "alice bob carol", "alice bob carol", "alice carol"}
	for i, e := range w.committed() {
		var got string
		for _, user := range []im.UserID{"alice", "bob", "carol", "dave"} {
			audience, err := w.MembersAt(w.ctx, id, e.Position, []im.UserID{user})
			w.must(err)
			if len(audience.Members) > 0 {
				got += " " + string(user)
			}
		}
		w.equal(string(e.Type), got, " "+want[i])
	}
}
