package im_test

import (
	"errors"
	"testing"

	"github.com/imapi/imapi/im"
)

func TestWhoMayDeleteForEveryone(t *testing.T) {
	for _, tt := range []struct {
		who    im.Actor
		group  string
		direct string // between alice and bob
	}{
		{as("alice"), "ok", "ok"},
		{as("bob"), "403 permission_denied", "ok"},
		{as("carol"), "403 permission_denied", "404 conversation_not_found"},
		{as("mallory"), "404 conversation_not_found", "404 conversation_not_found"},
		{as("former"), "404 conversation_not_found", "404 conversation_not_found"},
		{im.Actor{User: "root", Admin: true}, "ok", "ok"},
	} {
		t.Run(string(tt.who.User), func(t *testing.T) {
			w := newWorld(t)
			id := w.group(im.HistoryJoined, "alice", "bob", "carol", "former")
			_, err := w.SetRole(w.ctx, as("alice"), byID(id), "bob", im.Admin)
			w.must(err)
			w.remove(id, "former", "former")
			m := w.say("alice", direct("bob"), "hi")
			w.equal("group", answer(w.DeleteConversation(w.ctx, tt.who, byID(id))), tt.group)
			w.equal("direct", answer(w.DeleteConversation(w.ctx, tt.who, byID(m.Conversation))), tt.direct)
		})
	}
}

func TestDeletedForEveryoneIsGone(t *testing.T) {
	w := newWorld(t)
	m := w.say("alice", direct("bob"), "secret")
	id := m.Conversation
	w.must(w.DeleteConversation(w.ctx, on("bob", "phone"), direct("alice")))
	w.equal("again", answer(w.DeleteConversation(w.ctx, as("bob"), direct("alice"))), "404 conversation_not_found")

	gone := func(when string) {
		t.Helper()
		for _, user := range []im.UserID{"alice", "bob"} {
			_, err := w.Conversation(w.ctx, as(user), byID(id))
			w.equal(when+": the conversation", answer(err), "404 conversation_not_found")
			_, err = w.Message(w.ctx, as(user), m.ID)
			w.equal(when+": the message", answer(err), "404 message_not_found")
			w.equal(when+": the list", len(w.list(user)), 0)
			all, err := w.Unread(w.ctx, as(user), nil)
			w.must(err)
			w.equal(when+": unread", all.Total, 0)
			lost, err := w.Lost(w.ctx, as(user), epoch)
			w.must(err)
			w.equal(when+": lost", lost.Gone, []im.GoneConversation{{Conversation: id, At: epoch, Deleted: true}})
			window, err := w.Events(w.ctx, as(user), 0, 1000, 100)
			w.must(err)
			for _, e := range window.Events {
				if e.Message != nil {
					t.Errorf("%s: %s receives %+v", when, user, e)
				}
			}
			if last := window.Events[len(window.Events)-1]; last.Type != im.ConversationDeleted || last.Conversation != id {
				t.Errorf("%s: the last that %s receives is %+v", when, user, last)
			}
		}
		_, err := w.Revoke(w.ctx, im.Actor{User: "root", Admin: true}, m.ID, im.RevokeNote{})
		w.equal(when+": revoking it", answer(err), "404 message_not_found")
	}
	gone("at once")
	w.must(w.Purge(w.ctx))
	gone("purged")
	w.must(w.store.View(w.ctx, func(r im.Reader) error {
		if _, err := r.Message(m.ID); !errors.Is(err, im.ErrNotFound) {
			t.Errorf("the message still exists after the purge: %v", err)
		}
		left, err := r.Unpurged(10)
		w.equal("left to purge", len(left), 0)
		return err
	}))

	// The two users can send again, in a new conversation.
	again := w.say("alice", direct("bob"), "anew")
	if again.Conversation == id {
		t.Error("the deleted conversation was used again")
	}
	w.equal("said", w.said("bob", direct("alice")), []string{"anew"})
}
