package im_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// A hidden message is shown nowhere to the user who hid it, and everywhere to the others.
func TestHiddenOnlyFromTheUser(t *testing.T) {
	for name, tt := range map[string]struct {
		draft func(sent []im.Message) im.HideDraft
		left  []string
	}{
		"by ids": {func(sent []im.Message) im.HideDraft {
			return im.HideDraft{MessageIDs: []string{sent[3].ID.String(), sent[1].ID.String(), sent[1].ID.String()}}
		}, []string{"0", "2"}},
		"by time": {func(sent []im.Message) im.HideDraft { return im.HideDraft{Before: sent[2].CreatedAt} }, []string{"2", "3"}},
		"all":     {func([]im.Message) im.HideDraft { return im.HideDraft{All: true} }, nil},
		"before a time in the future": {func([]im.Message) im.HideDraft {
			return im.HideDraft{Before: epoch.Add(24 * time.Hour)}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.group(im.HistoryJoined, "alice", "bob")
			var sent []im.Message
			for i := range 4 {
				sent = append(sent, w.say("alice", byID(id), fmt.Sprint(i)))
				w.pass(time.Minute)
			}
			w.must(w.Hide(w.ctx, as("bob"), byID(id), tt.draft(sent)))

			w.equal("bob reads", w.said("bob", byID(id)), tt.left)
			w.equal("alice reads", w.said("alice", byID(id)), []string{"0", "1", "2", "3"})
			left := make(map[string]bool)
			for _, words := range tt.left {
				left[words] = true
			}
			for i, m := range sent {
				_, err := w.Message(w.ctx, as("bob"), m.ID)
				want := "404 message_not_found"
				if left[fmt.Sprint(i)] {
					want = "ok"
				}
				w.equal(fmt.Sprint("message ", i), answer(err), want)
				again := w.Hide(w.ctx, as("bob"), byID(id), im.HideDraft{MessageIDs: []string{m.ID.String()}})
				w.equal("hiding it again", answer(again), "ok")
			}
			w.equal("preview", preview(w.list("bob")), "-")
			w.say("alice", byID(id), "new")
			w.equal("then", w.said("bob", byID(id)), []string{"new"})
			w.equal("preview", preview(w.list("bob")), "new")
		})
	}
}

// preview returns the preview of the first conversation in a list.
func preview(list []im.ConversationView) string {
	switch {
	case len(list) == 0:
		return "no conversation"
	case list[0].LastMessage == nil:
		return "-"
	case list[0].LastMessage.Content == nil:
		return list[0].LastMessage.State.String()
	default:
		return words(*list[0].LastMessage)
	}
}

func TestHiddenStaysHiddenWhateverHappensLater(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	m := w.say("alice", byID(id), "hidden")
	w.hide("bob", byID(id), m.ID)
	w.revoke("alice", m.ID)
	_, err := w.Message(w.ctx, as("bob"), m.ID)
	w.equal("the tombstone", answer(err), "404 message_not_found")
	page, err := w.Erased(w.ctx, as("bob"), im.ErasureQuery{Limit: 10})
	w.must(err)
	w.equal("erased for bob", len(page.Items), 0)
	w.remove(id, "bob", "bob")
	w.back(id, "alice", "bob")
	w.equal("back again", w.said("bob", byID(id)), []string(nil))
	for _, e := range w.committed() {
		if e.Type == im.MessageRevoked {
			w.equal("without the event", e.HiddenBy, []im.UserID{"bob"})
		}
	}
}

func TestHidingUnknownMessages(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryJoined, "alice", "bob")
	m := w.say("alice", byID(id), "hi")
	elsewhere := w.say("alice", direct("bob"), "hi")
	before := len(w.committed())
	for name, tt := range map[string]struct {
		user im.UserID
		ids  []string
		want string
	}{
		"an unknown id":                     {"bob", []string{m.ID.String(), "0000000000001"}, "404 message_not_found"},
		"not an id":                         {"bob", []string{"x"}, "404 message_not_found"},
		"a message of another conversation": {"bob", []string{elsewhere.ID.String()}, "404 message_not_found"},
		"by a stranger":                     {"mallory", []string{m.ID.String()}, "404 conversation_not_found"},
		"too many ids":                      {"bob", make([]string, im.MaxHiddenIDs+1), "400 invalid_request"},
	} {
		err := w.Hide(w.ctx, as(tt.user), byID(id), im.HideDraft{MessageIDs: tt.ids})
		w.equal(name, answer(err), tt.want)
	}
	w.equal("events", len(w.committed())-before, 0)
	w.equal("bob reads", w.said("bob", byID(id)), []string{"hi"})
}

func TestAHiddenConversationComesBackWithANewMessage(t *testing.T) {
	for name, tt := range map[string]struct {
		keep bool
		said []string
	}{
		"with its messages":    {false, []string{"new"}},
		"without its messages": {true, []string{"old", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.group(im.HistoryJoined, "alice", "bob")
			old := w.say("alice", byID(id), "old")
			for range 2 { // the second time changes nothing
				w.must(w.HideConversation(w.ctx, on("bob", "phone"), byID(id), tt.keep))
			}
			w.equal("bob lists", len(w.list("bob")), 0)
			w.equal("alice lists", len(w.list("alice")), 1)
			since, err := w.Conversations(w.ctx, as("bob"), im.ConversationFilter{ChangedSince: epoch, Limit: 10})
			w.must(err)
			if len(since.Items) != 1 || !since.Items[0].Hidden {
				t.Errorf("the changes for bob: %+v", since.Items)
			}
			received := 0
			for _, e := range w.committed() {
				if e.Type == im.ConversationHidden {
					received++
					w.equal("published", fmt.Sprint(e.To, e.ActorDevice, e.UpToSeq), fmt.Sprint("bob", "phone", map[bool]int64{false: old.Seq}[tt.keep]))
				}
			}
			w.equal("times published", received, 1)
			// Erasures and changes of settings do not make the conversation reappear.
			w.revoke("alice", old.ID)
			_, err = w.UpdateConversation(w.ctx, as("alice"), byID(id), im.ConversationPatch{Name: new("renamed")})
			w.must(err)
			w.equal("bob lists", len(w.list("bob")), 0)
			w.say("alice", byID(id), "new")
			w.equal("bob lists", len(w.list("bob")), 1)
			said := []string{}
			page, err := w.Messages(w.ctx, as("bob"), byID(id), im.HistoryFilter{Ascending: true, Limit: 10})
			w.must(err)
			for _, m := range page.Messages {
				if m.Content == nil {
					said = append(said, "old")
				} else {
					said = append(said, words(m))
				}
			}
			w.equal("bob reads", said, tt.said)
		})
	}
}

// On replay the user who hid a message receives its message.created without the message,
// and no other event about it. Others receive all of them.
func TestReplayOfWhatWasHidden(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob", "carol")
	first, second := w.say("alice", byID(id), "one"), w.say("alice", byID(id), "two")
	w.say("alice", byID(id), "three")
	w.hide("bob", byID(id), second.ID)
	for _, m := range []im.Message{first, second} {
		w.revoke("alice", m.ID)
	}
	w.must(w.Hide(w.ctx, as("carol"), byID(id), im.HideDraft{All: true}))
	for user, want := range map[im.UserID][]string{
		"bob": {
			"message.created 1 true", "message.created 2 false", "message.created 3 true", "message.revoked 1 true",
		},
		"carol": {"message.created 1 false", "message.created 2 false", "message.created 3 false"},
	} {
		var got []string
		for _, e := range w.replay(as(user), 0, 2) {
			if e.MessageID != 0 {
				got = append(got, fmt.Sprintf("%s %d %t", e.Type, e.Seq, e.Message != nil))
			}
		}
		w.equal("what "+string(user)+" is replayed", got, want)
	}
}
