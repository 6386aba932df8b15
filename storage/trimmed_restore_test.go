package storage

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestTrimmedAfterRestore checks that messages that were trimmed, deleted with their conversation
// or purged after a backup do not reappear through its restore, a retry, an insertion or an import,
// because their keys are shredded.
func TestTrimmedAfterRestore(t *testing.T) {
	s := newSite(t)
	root := im.Actor{User: "root", Admin: true}
	group, err := s.CreateGroup(t.Context(), alice, im.GroupDraft{Name: "a group", Members: []im.UserID{"bob"}})
	s.must(err)
	conversations := map[string]im.ConversationRef{
		"trimmed": s.conversation, "deleted with a group": {ID: group.ID}, "deleted with a direct conversation": {Peer: "bob"},
	}
	sent := map[string]im.Message{}
	for how, in := range conversations {
		sent[how] = s.sendTo(in, how)
	}
	stays := s.sendTo(im.ConversationRef{Peer: "carol"}, "stays")
	file := s.backup()

	s.must(s.DeleteConversation(t.Context(), alice, conversations["deleted with a group"]))
	s.must(s.DeleteConversation(t.Context(), alice, conversations["deleted with a direct conversation"]))
	s.must(s.Purge(t.Context()))
	s.advance(45 * time.Minute)
	young := s.send("young")
	s.advance(20 * time.Minute)
	s.must(s.Trim(t.Context(), time.Time{}, nil))
	s.waitShredded()

	checkRefused := func(how string, err error) {
		t.Helper()
		// A deleted group is not found, unless a backup that has it was restored.
		if e, ok := im.AsError(err); !ok || e.Code != "message_gone" && e.Code != "conversation_not_found" {
			t.Errorf("%s: %v, want message_gone", how, err)
		}
	}
	checkGone := func() {
		t.Helper()
		for how, m := range sent {
			if got, err := s.Message(t.Context(), alice, m.ID); err == nil {
				t.Errorf("%s: found %+v", how, got)
			}
			body, err := json.Marshal(map[string]string{"text": how})
			s.must(err)
			_, err = s.Send(t.Context(), alice, conversations[how], im.Draft{ClientID: m.ClientID, Type: im.Text, Body: body})
			checkRefused(how+", sent again", err)
			_, err = s.Send(t.Context(), alice, im.ConversationRef{Peer: "dave"}, im.Draft{ClientID: m.ClientID, Type: im.Text, Body: body})
			checkRefused(how+", sent to another user", err)
			line := im.ImportMessage{
				ID: m.ID.String(), Conversation: s.conversation.ID.String(), Sender: "alice", ClientID: m.ClientID,
				Type: im.Text, Body: body, CreatedAt: m.CreatedAt,
			}
			_, _, err = s.Insert(t.Context(), root, line)
			checkRefused(how+", inserted", err)
			results, err := s.Import(t.Context(), root, []im.Prepared{s.PrepareMessage(line)})
			s.must(err)
			checkRefused(how+", imported", results[0].Err)
		}
	}
	checkGone()
	s.restore(file, "")
	checkGone()
	s.checkState(young, 0) // sent after the backup
	if _, err := s.Message(t.Context(), alice, stays.ID); err == nil {
		t.Error("a message past retention can be read")
	}
	s.close()
	s.open()
	checkGone()
}
