package im_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestDroppedMessagesLeaveNoTrace: others see the same as if a dropped message had not been sent,
// whatever its sender does with it, except for a gap in the seqs.
func TestDroppedMessagesLeaveNoTrace(t *testing.T) {
	type scene struct {
		name string
		// to creates the conversation, before the hook is in use.
		to func(w *world) im.ConversationRef
		// Whether a message that is not dropped is sent before the dropped ones, or after them.
		before, after bool
	}
	group := func(h im.History) func(w *world) im.ConversationRef {
		return func(w *world) im.ConversationRef { return byID(w.group(h, "owner", "alice", "bob")) }
	}
	thread := func(w *world) im.ConversationRef {
		root := w.say("owner", byID(w.group(im.HistoryAll, "owner", "alice", "bob")), "root")
		v, err := w.CreateThread(w.ctx, as("alice"), root.ID, im.ThreadDraft{Name: "a thread"})
		w.must(err)
		w.must1(w.Join(w.ctx, as("bob"), byID(v.ID)))
		return byID(v.ID)
	}
	room := func(w *world) im.ConversationRef { return byID(w.room("owner", "alice", "bob")) }
	channel := func(w *world) im.ConversationRef {
		return byID(w.channel("owner", w.space("owner", "alice", "bob"), false))
	}
	toBob := func(*world) im.ConversationRef { return direct("bob") }
	var scenes []scene
	for name, to := range map[string]func(w *world) im.ConversationRef{
		"direct": toBob, "group": group(im.HistoryAll), "group from joining on": group(im.HistoryJoined),
		"thread": thread, "room": room, "channel": channel,
	} {
		for when, sent := range map[string]struct{ before, after bool }{
			"nothing else": {}, "real before": {true, false}, "real after": {false, true}, "real before and after": {true, true},
		} {
			scenes = append(scenes, scene{name + ", " + when, to, sent.before, sent.after})
		}
	}
	run := func(t *testing.T, s scene, drops bool) string {
		w := newWorld(t)
		to := s.to(w)
		fromBob := to
		if to.Peer != "" {
			fromBob = direct("alice")
		}
		asked(w, im.Presend{}, byText)
		if s.before {
			w.say("alice", to, "real before")
		}
		w.pass(time.Second)
		if drops {
			d := named("d", "drop")
			d.Mentions = []im.UserID{"bob"}
			sent, err := w.Send(w.ctx, on("alice", "phone"), to, d)
			w.must(err)
			timed := text("drop")
			timed.ExpireAfter = time.Minute
			w.must1(w.Send(w.ctx, as("alice"), to, timed))
			w.say("alice", to, "drop")
			w.must1(w.Revoke(w.ctx, as("alice"), sent.Message.ID, im.RevokeNote{}))
			if list := w.history("alice", to); !slices.Contains(list, "drop") || !slices.Contains(list, "revoked") {
				t.Errorf("the sender reads %q", list)
			}
		}
		w.pass(2 * time.Minute)
		w.mustEraseDue()
		if s.after {
			w.say("alice", to, "real after")
			w.say("bob", fromBob, "an answer")
		}
		w.pass(time.Second)
		return w.shown("bob", []im.ConversationRef{fromBob})
	}
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if got, want := run(t, s, true), run(t, s, false); got != want {
				t.Errorf("with dropped messages:\n%s\nwithout:\n%s", got, want)
			}
		})
	}
}

// TestDroppedFirstMessages: while all messages of a direct conversation are dropped, the other
// user does not have it. The first message that they can see opens it to them, once.
func TestDroppedFirstMessages(t *testing.T) {
	for _, test := range []struct {
		name   string
		opens  func(w *world)
		reads  []string // what bob reads
		events []string // what bob receives
	}{
		{"the sender sends another", func(w *world) { w.say("alice", direct("bob"), "hello") }, []string{"hello"}, []string{"conversation.created", "message 2 hello"}},
		{"the other user sends one", func(w *world) { w.say("bob", direct("alice"), "hello") }, []string{"hello"}, []string{"conversation.created", "message 2 hello"}},
		{"a message of the other user is dropped, too", func(w *world) { w.say("bob", direct("alice"), "drop") }, []string{"drop"}, []string{"conversation.created", "message 2 drop"}},
		{"a message is imported", func(w *world) { w.imports(w.old(time.Hour)) }, []string{"old"}, []string{"conversation.created"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			asked(w, im.Presend{}, byText)
			w.say("alice", direct("bob"), "drop")
			if _, err := w.Conversation(w.ctx, as("bob"), direct("alice")); answer(err) != "404 conversation_not_found" || len(w.list("bob")) != 0 {
				t.Errorf("bob sees the conversation: %v", err)
			}
			test.opens(w)
			w.pass(time.Second)
			w.say("alice", direct("bob"), "more")
			w.equal("bob reads", w.said("bob", direct("alice")), append(test.reads, "more"))
			w.equal("bob gets", w.received(on("bob", "tablet")), append(test.events, "message 3 more"))
			w.equal("lists", []int{len(w.list("alice")), len(w.list("bob"))}, []int{1, 1})
		})
	}
}

// TestDroppedConversationIsExportedWhole: an import refuses a direct conversation of one user.
func TestDroppedConversationIsExportedWhole(t *testing.T) {
	w := newWorld(t)
	asked(w, im.Presend{}, byText)
	w.say("alice", direct("bob"), "drop")
	var users []im.UserID
	w.must(w.Export(w.ctx, root, 0, func(lines []im.ExportLine) error {
		for _, line := range lines {
			for _, m := range line.Members {
				users = append(users, m.User)
			}
			if line.Message != nil && line.Message.VisibleTo != "alice" {
				t.Errorf("exported for %q", line.Message.VisibleTo)
			}
		}
		return nil
	}))
	w.equal("members", users, []im.UserID{"alice", "bob"})
}

// history returns the texts that a user may read, or the states of tombstones.
func (w *world) history(user im.UserID, ref im.ConversationRef) (list []string) {
	w.Helper()
	page, err := w.Messages(w.ctx, as(user), ref, im.HistoryFilter{Ascending: true, Limit: 100})
	w.must(err)
	for _, m := range page.Messages {
		if m.Content == nil {
			list = append(list, m.State.String())
		} else {
			list = append(list, words(m))
		}
	}
	return list
}

// shown describes everything that a user can see of conversations, without ids and seqs.
func (w *world) shown(user im.UserID, conversations []im.ConversationRef) string {
	w.Helper()
	var b strings.Builder
	body := func(m *im.Message) {
		if m != nil && m.Content != nil {
			fmt.Fprintf(&b, " %s", m.Content.Body)
		}
		fmt.Fprintln(&b)
	}
	for _, v := range w.list(user) {
		fmt.Fprintf(&b, "list: %s %q unread %+v", v.Kind, v.Name, v.Unread)
		body(v.LastMessage)
	}
	for i, ref := range conversations {
		v, err := w.Conversation(w.ctx, as(user), ref)
		if err != nil {
			fmt.Fprintf(&b, "%d: %s\n", i, answer(err))
			continue
		}
		members, err := w.Members(w.ctx, as(user), ref, im.Page{Limit: 100})
		w.must(err)
		fmt.Fprintf(&b, "%d: %s of %d, unread %+v, %d in the thread, active %v, updated %v, %q\n",
			i, v.Kind, len(members.Items), v.Unread, v.Messages, v.ActiveAt, v.UpdatedAt, w.history(user, ref))
	}
	found, err := w.Search(w.ctx, as(user), im.SearchFilter{Words: "drop", Limit: 100})
	w.must(err)
	erased, err := w.Erased(w.ctx, as(user), im.ErasureQuery{Limit: 100})
	w.must(err)
	unread, err := w.Unread(w.ctx, as(user), nil)
	w.must(err)
	fmt.Fprintf(&b, "found %d, erased %d, unread %d/%d\n", len(found.Hits), len(erased.Items), unread.Total, unread.Mentions)
	for _, e := range w.replay(as(user), 0, 7) {
		fmt.Fprintf(&b, "%s by %s, unread %+v, mentions %v", e.Type, e.Actor, e.Unread, e.Mentioned)
		if e.Activity != nil {
			fmt.Fprintf(&b, ", %d in the thread, active %v", e.Activity.Messages, e.Activity.At)
		}
		body(e.Message)
	}
	return b.String()
}
