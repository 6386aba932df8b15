package storage

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestGoneAfterRestore: what was removed after a backup was made, by retention, with its
// conversation or by what is left of that being purged, does not come back once the
// backup is restored: not by itself, nor by a retry, an insertion or an import that
// repeats it. The keys tell.
func TestGoneAfterRestore(t *testing.T) {
	s := newSite(t)
	root := im.Actor{User: "root", Admin: true}
	group, err := s.CreateGroup(t.Context(), alice, im.GroupDraft{Name: "a group", Members: []im.UserID{"bob"}})
	s.must(err)
	places := map[string]im.ConversationRef{
		"trimmed": s.conversation, "deleted with a group": {ID: group.ID}, "deleted of two": {Peer: "bob"},
	}
	sent := map[string]im.Message{}
	for how, in := range places {
		sent[how] = s.sendTo(in, how)
	}
	stays := s.sendTo(im.ConversationRef{Peer: "carol"}, "stays")
	file := s.backup()

	s.must(s.DeleteConversation(t.Context(), alice, places["deleted with a group"]))
	s.must(s.DeleteConversation(t.Context(), alice, places["deleted of two"]))
	s.must(s.Purge(t.Context()))
	s.pass(45 * time.Minute)
	young := s.send("young")
	s.pass(20 * time.Minute)
	s.must(s.Trim(t.Context(), time.Time{}, nil))
	s.shredded()

	gone := func(how string, err error) {
		t.Helper()
		// A group that was deleted is not there, unless its backup was restored.
		if e, ok := im.AsError(err); !ok || e.Code != "message_gone" && e.Code != "conversation_not_found" {
			t.Errorf("%s: %v, want message_gone", how, err)
		}
	}
	bringNothingBack := func() {
		t.Helper()
		for how, m := range sent {
			if got, err := s.Message(t.Context(), alice, m.ID); err == nil {
				t.Errorf("%s: there is %+v", how, got)
			}
			body, err := json.Marshal(map[string]string{"text": how})
			s.must(err)
			_, err = s.Send(t.Context(), alice, places[how], im.Draft{ClientID: m.ClientID, Type: im.Text, Body: body})
			gone(how+", sent again", err)
			_, err = s.Send(t.Context(), alice, im.ConversationRef{Peer: "dave"}, im.Draft{ClientID: m.ClientID, Type: im.Text, Body: body})
			gone(how+", sent to somebody else", err)
			line := im.ImportMessage{
				ID: m.ID.String(), Conversation: s.conversation.ID.String(), Sender: "alice", ClientID: m.ClientID,
				Type: im.Text, Body: body, CreatedAt: m.CreatedAt,
			}
			_, _, err = s.Insert(t.Context(), root, line)
			gone(how+", inserted", err)
			results, err := s.Import(t.Context(), root, []im.Prepared{s.PrepareMessage(line)})
			s.must(err)
			gone(how+", imported", results[0].Err)
		}
	}
	bringNothingBack()
	s.restore(file, "")
	bringNothingBack()
	s.is(young, 0) // it is of after the backup
	if _, err := s.Message(t.Context(), alice, stays.ID); err == nil {
		t.Error("what is past retention since is there")
	}
	s.close()
	s.open()
	bringNothingBack()
}
