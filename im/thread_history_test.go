package im_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestThreadsShowNothingFromBeforeJoining checks that a user who joins a group with history
// from joining on learns nothing older about its threads: no name, no count, no time of activity.
func TestThreadsShowNothingFromBeforeJoining(t *testing.T) {
	for _, history := range []im.History{im.HistoryJoined, im.HistoryAll} {
		t.Run(history.String(), func(t *testing.T) {
			w := newWorld(t)
			g := w.group(history, "alice", "early")
			root := w.say("alice", byID(g), "root")
			v, err := w.CreateThread(w.ctx, as("alice"), root.ID, im.ThreadDraft{Name: "secret plans"})
			w.must(err)
			old := v.ID
			w.say("alice", byID(old), "said before")
			w.pass(time.Hour)
			w.add(g, "alice", im.Member, "late")
			w.pass(time.Second)

			seen := func(user im.UserID, id im.ID) string {
				w.Helper()
				v, err := w.Conversation(w.ctx, as(user), byID(id))
				w.must(err)
				active := "none"
				if !v.ActiveAt.IsZero() {
					active = w.clock().Sub(v.ActiveAt).String()
				}
				count := fmt.Sprint(v.Messages)
				if v.Later {
					count = "?"
				}
				page, err := w.Threads(w.ctx, as(user), byID(g), 0, 10)
				w.must(err)
				for _, listed := range page.Items {
					if listed.ID == id {
						w.equal("in the list", []any{listed.Name, listed.Messages, listed.ActiveAt, listed.Later}, []any{v.Name, v.Messages, v.ActiveAt, v.Later})
					}
				}
				return fmt.Sprintf("%q %s %s", v.Name, count, active)
			}
			whole := `"secret plans" 1 1h0m1s`
			w.equal("an early member", seen("early", old), whole)
			if history == im.HistoryAll {
				w.equal("a later member, with all history", seen("late", old), whole)
				w.say("alice", byID(old), "said since")
				w.equal("counts in events", w.receivedCounts("late"), []string{"2"})
				return
			}
			w.equal("a later member", seen("late", old), `"" ? none`)
			w.equal("messages that they read", len(w.said("late", byID(old))), 0)
			w.say("alice", byID(old), "said since")
			w.equal("messages since then", seen("late", old), `"" ? 0s`)
			w.equal("messages that they read then", w.said("late", byID(old)), []string{"said since"})
			name := "named since"
			_, err = w.UpdateConversation(w.ctx, as("alice"), byID(old), im.ConversationPatch{Name: &name})
			w.must(err)
			w.equal("its new name", seen("late", old), `"named since" ? 0s`)
			w.revoke("alice", w.say("alice", byID(old), "revoked").ID)
			w.equal("counts in events", w.receivedCounts("late"), []string{"?", "?", "?", "?"})
			root = w.say("alice", byID(g), "another root")
			v, err = w.CreateThread(w.ctx, as("alice"), root.ID, im.ThreadDraft{Name: "a later thread"})
			w.must(err)
			w.equal("a later thread", seen("late", v.ID), `"a later thread" 0 0s`)
		})
	}
}

// receivedCounts returns the message counts in the thread events that a user receives, "?"
// for events without one.
func (w *world) receivedCounts(user im.UserID) (counts []string) {
	w.Helper()
	for _, e := range w.replay(as(user), 0, 100) {
		switch {
		case e.Type != im.ThreadUpdated:
		case e.Activity == nil:
			counts = append(counts, "?")
		default:
			counts = append(counts, fmt.Sprint(e.Activity.Messages))
		}
	}
	return counts
}
