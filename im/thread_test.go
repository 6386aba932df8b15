package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// threadScene is a group with a thread that alice created and bob joined.
type threadScene struct {
	*world
	group  im.ID
	root   im.Message
	thread im.ID
}

func newThread(t *testing.T) threadScene {
	t.Helper()
	w := newWorld(t)
	s := threadScene{world: w, group: w.group(im.HistoryJoined, "owner", "alice", "bob", "carol")}
	w.add(s.group, "owner", im.Admin, "admin")
	s.root = w.say("bob", byID(s.group), "a question")
	v, err := w.CreateThread(w.ctx, as("alice"), s.root.ID, im.ThreadDraft{Name: "answers"})
	w.must(err)
	s.thread = v.ID
	w.join("bob", s.thread)
	return s
}

// TestRevokingInAThreadAfterLeaving checks that a user who has left a thread may revoke there
// with a note, unless they may not send in its parent.
func TestRevokingInAThreadAfterLeaving(t *testing.T) {
	s := newThread(t)
	for who, muted := range map[im.UserID]bool{"alice": false, "bob": true} {
		m := s.say(who, byID(s.thread), "oops")
		s.must(s.Leave(s.ctx, as(who), byID(s.thread)))
		if muted {
			s.must1(s.MuteMember(s.ctx, as("owner"), byID(s.group), who, time.Minute))
		}
		got, err := s.Revoke(s.ctx, as(who), m.ID, im.RevokeNote{Postscript: "a typo", Extension: []byte(`{"a":1}`)})
		s.must(err)
		want := `a typo {"a":1}`
		if muted {
			want = " "
		}
		s.equal(string(who), fmt.Sprintf("%s %s", got.Erased.Postscript, got.Erased.Extension), want)
	}
}

// state returns the message count of the thread and the time of its last activity since the start.
func (s threadScene) state() string {
	s.Helper()
	v, err := s.Conversation(s.ctx, as("carol"), byID(s.thread))
	s.must(err)
	return fmt.Sprintf("%d after %v", v.Messages, v.ActiveAt.Sub(epoch))
}

// activities returns the events about the thread that members of the group receive.
func (s threadScene) activities() string {
	s.Helper()
	var out []string
	for _, e := range s.replay(as("carol"), 0, 5) {
		if e.Thread == s.thread && e.Activity != nil {
			out = append(out, fmt.Sprintf("%s %d", e.Type, e.Activity.Messages))
		}
	}
	return strings.Join(out, ", ")
}

func TestCreateThread(t *testing.T) {
	s := newThread(t)
	create := func(user im.UserID, m im.ID, name string) string {
		_, err := s.CreateThread(s.ctx, as(user), m, im.ThreadDraft{Name: name})
		return answer(err)
	}
	long := strings.Repeat("名", im.MaxThreadName)
	m := s.say("bob", byID(s.group), "another")
	s.equal("a second one", create("bob", s.root.ID, "x"), "409 thread_exists")
	s.equal("without a name", create("bob", m.ID, ""), "400 invalid_request")
	s.equal("with a long name", create("bob", m.ID, long+"字"), "400 invalid_request")
	s.equal("by a stranger", create("mallory", m.ID, "x"), "404 message_not_found")
	s.equal("under an unknown message", create("bob", m.ID+1, "x"), "404 message_not_found")
	s.equal("by a member", create("bob", m.ID, long), "ok")
	d := s.say("bob", direct("alice"), "hi")
	s.equal("in a direct conversation", create("bob", d.ID, "x"), "422 thread_unsupported")
	in := s.say("bob", byID(s.thread), "hi")
	s.equal("in a thread", create("bob", in.ID, "x"), "422 thread_unsupported")
	revoked := s.say("bob", byID(s.group), "revoked")
	s.revoke("bob", revoked.ID)
	s.equal("under a tombstone", create("bob", revoked.ID, "x"), "409 already_revoked")

	v, err := s.Conversation(s.ctx, as("bob"), byID(s.thread))
	s.must(err)
	s.equal("thread", fmt.Sprint(v.Kind, " ", v.Name, " ", v.Parent == s.group, " ", v.Root == s.root.ID, " ", v.Creator, " ", v.MemberCount), "thread answers true true alice 2")
}

// TestThreadAccess checks that members of the parent can read and join a thread, and that
// only members of the thread send there and receive its events.
func TestThreadAccess(t *testing.T) {
	s := newThread(t)
	s.say("bob", byID(s.thread), "one")
	s.equal("carol reads", s.said("carol", byID(s.thread)), []string{"one"})
	_, err := s.Send(s.ctx, as("carol"), byID(s.thread), text("hi"))
	s.equal("carol sends", err, "permission_denied: you need the permission send here: join the thread first")
	_, err = s.PutReceipt(s.ctx, as("carol"), byID(s.thread), im.ReceiptDraft{Kind: im.Read, UpTo: s.root.ID.String()})
	s.equal("carol has read", answer(err), "422 not_joined")
	s.equal("mallory reads", s.try("mallory", s.thread), "404 conversation_not_found")
	s.equal("carol receives", s.summary(as("carol"), s.thread), []string(nil))
	s.equal("bob receives", s.summary(as("bob"), s.thread), []string{"member.added bob", "message.created"})
	s.equal("unread of alice", s.unread("alice", byID(s.thread)), "1/0")
	s.equal("unread of carol", s.unread("carol", byID(s.thread)), "0/0")

	s.join("carol", s.thread)
	s.equal("carol sends", s.try("carol", s.thread), "ok")
	_, err = s.AddMembers(s.ctx, as("owner"), byID(s.thread), []im.UserID{"admin"}, im.Member)
	s.equal("adding a member", answer(err), "422 members_unsupported")
	page, err := s.Members(s.ctx, as("owner"), byID(s.thread), im.Page{Limit: 10})
	s.must(err)
	s.equal("members", len(page.Items), 3)
}

// TestThreadModeration checks what members of the parent may do with a thread.
func TestThreadModeration(t *testing.T) {
	rename := func(s threadScene, user im.UserID) error {
		name := "other"
		_, err := s.UpdateConversation(s.ctx, as(user), byID(s.thread), im.ConversationPatch{Name: &name})
		return err
	}
	remove := func(s threadScene, user im.UserID) error {
		return s.RemoveMember(s.ctx, as(user), byID(s.thread), "bob")
	}
	deleteThread := func(s threadScene, user im.UserID) error {
		return s.DeleteConversation(s.ctx, as(user), byID(s.thread))
	}
	const ok, denied = "ok", "403 permission_denied"
	for _, test := range []struct {
		name string
		do   func(threadScene, im.UserID) error
		want [4]string // for carol, alice who created it, an admin, the owner
	}{
		{"rename", rename, [4]string{denied, ok, ok, ok}},
		{"remove a member", remove, [4]string{denied, denied, ok, ok}},
		{"delete", deleteThread, [4]string{denied, denied, ok, ok}},
	} {
		for i, user := range []im.UserID{"carol", "alice", "admin", "owner"} {
			s := newThread(t)
			s.equal(fmt.Sprint(test.name, " by ", user), answer(test.do(s, user)), test.want[i])
		}
	}
}

// TestThreadActivity checks that count and last activity follow sends, revokes, expiry and
// trimming, and that members of the parent receive them without content.
func TestThreadActivity(t *testing.T) {
	s := newThread(t)
	s.equal("empty", s.state(), "0 after 0s")
	s.pass(time.Second)
	s.say("bob", byID(s.thread), "one")
	s.pass(time.Second)
	two := s.say("alice", byID(s.thread), "two")
	s.pass(time.Second)
	d := text("three")
	d.ExpireAfter = time.Second
	s.send("bob", byID(s.thread), d)
	s.equal("three", s.state(), "3 after 3s")
	s.pass(time.Second)
	_, _, err := s.EraseDue(s.ctx)
	s.must(err)
	s.equal("expired", s.state(), "2 after 2s")
	s.revoke("alice", two.ID)
	s.revoke("alice", two.ID) // again
	s.equal("revoked", s.state(), "1 after 1s")
	s.equal("received", s.activities(), "thread.created 0, thread.updated 1, thread.updated 2, thread.updated 3, thread.updated 2, thread.updated 1")
	for _, e := range s.replay(as("carol"), 0, 5) {
		if e.Message != nil && e.Conversation == s.thread || e.Thread != 0 && (e.MessageID != 0 || e.Message != nil) {
			t.Errorf("received content: %+v", e)
		}
	}
}

// TestThreadRetention checks that the retention of the parent applies to the thread.
func TestThreadRetention(t *testing.T) {
	s := newThread(t)
	days := new(24 * time.Hour)
	s.set("owner", s.group, im.ConversationPatch{Retention: &days})
	one := s.say("bob", byID(s.thread), "one")
	s.pass(23 * time.Hour)
	s.say("bob", byID(s.thread), "two")
	s.pass(2 * time.Hour)
	s.equal("readable", s.said("carol", byID(s.thread)), []string{"two"})
	_, err := s.Message(s.ctx, as("bob"), one.ID)
	s.equal("past retention", answer(err), "404 message_not_found")
	// A longer retention does not bring messages back.
	days = nil
	s.set("owner", s.group, im.ConversationPatch{Retention: &days})
	s.equal("still", s.said("carol", byID(s.thread)), []string{"two"})
	s.must(s.Trim(s.ctx, time.Time{}, nil))
	s.equal("trimmed", s.state(), "1 after 23h0m0s")
}

// TestLosingTheParentLosesTheThread checks that leaving the parent ends memberships of its
// threads, and that returning does not restore them.
func TestLosingTheParentLosesTheThread(t *testing.T) {
	s := newThread(t)
	m := s.say("bob", byID(s.thread), "one")
	s.must(s.Leave(s.ctx, as("bob"), byID(s.group)))
	s.equal("sending", s.try("bob", s.thread), "404 conversation_not_found")
	_, err := s.Message(s.ctx, as("bob"), m.ID)
	s.equal("reading", answer(err), "404 message_not_found")
	_, err = s.Join(s.ctx, as("bob"), byID(s.thread))
	s.equal("joining", answer(err), "404 conversation_not_found")
	mine, err := s.MyThreads(s.ctx, as("bob"), 0, 10)
	s.must(err)
	s.equal("bob's threads", len(mine.Items), 0)
	s.say("alice", byID(s.thread), "two")
	s.equal("bob receives", s.summary(as("bob"), s.thread), []string{"member.added bob", "message.created", "member.removed bob"})
	s.back(s.group, "owner", "bob")
	s.equal("back, he reads", s.said("bob", byID(s.thread)), []string{"one", "two"})
	s.equal("but is not in it", s.try("bob", s.thread), "403 permission_denied")
}

// TestThreadOutlivesItsRoot checks that a thread stays when the message that it is under is erased
// or trimmed.
func TestThreadOutlivesItsRoot(t *testing.T) {
	s := newThread(t)
	s.say("bob", byID(s.thread), "one")
	s.revoke("bob", s.root.ID)
	s.equal("reading", s.said("carol", byID(s.thread)), []string{"one"})
	page, err := s.Threads(s.ctx, as("carol"), byID(s.group), 0, 10)
	s.must(err)
	s.equal("listed", len(page.Items), 1)
	s.equal("with its last message", words(*page.Items[0].LastMessage), "one")
	root, err := s.Message(s.ctx, as("bob"), s.root.ID)
	s.must(err)
	s.equal("the root", root.State, im.Revoked)
}

// TestDeletingTheParent checks that threads are deleted with their group: nobody can read,
// find or join them.
func TestDeletingTheParent(t *testing.T) {
	s := newThread(t)
	m := s.say("bob", byID(s.thread), "needle")
	s.must(s.DeleteConversation(s.ctx, as("owner"), byID(s.group)))
	for _, user := range []im.UserID{"owner", "bob"} {
		_, err := s.Message(s.ctx, as(user), m.ID)
		s.equal("reading", answer(err), "404 message_not_found")
		s.equal("sending", s.try(user, s.thread), "404 conversation_not_found")
		_, err = s.Join(s.ctx, as(user), byID(s.thread))
		s.equal("joining", answer(err), "404 conversation_not_found")
		found, err := s.Search(s.ctx, as(user), im.SearchFilter{Words: "needle", Limit: 10})
		s.must(err)
		s.equal("found", len(found.Hits), 0)
	}
	s.must(s.Purge(s.ctx))
	if _, err := s.Revoke(s.ctx, im.Actor{User: "root", Admin: true}, m.ID, im.RevokeNote{}); answer(err) != "404 message_not_found" {
		t.Errorf("after it was purged: %v", err)
	}
}

// TestAnotherThreadAfterDeletion checks that a message whose thread was deleted can get
// another one.
func TestAnotherThreadAfterDeletion(t *testing.T) {
	s := newThread(t)
	s.must(s.DeleteConversation(s.ctx, as("owner"), byID(s.thread)))
	v, err := s.CreateThread(s.ctx, as("carol"), s.root.ID, im.ThreadDraft{Name: "again"})
	s.must(err)
	page, err := s.Threads(s.ctx, as("bob"), byID(s.group), 0, 10)
	s.must(err)
	s.equal("threads", len(page.Items) == 1 && page.Items[0].ID == v.ID, true)
	var received []string
	for _, e := range s.replay(as("owner"), 0, 5) {
		if e.Thread != 0 {
			received = append(received, fmt.Sprint(e.Type, " ", e.Thread == s.thread))
		}
	}
	s.equal("received", received, []string{"thread.created true", "thread.deleted true", "thread.created false"})
}

// TestThreadPages checks that each thread is on exactly one page.
func TestThreadPages(t *testing.T) {
	s := newThread(t)
	want := []im.ID{s.thread}
	for i := range 7 {
		m := s.say("bob", byID(s.group), "q")
		v, err := s.CreateThread(s.ctx, as("bob"), m.ID, im.ThreadDraft{Name: fmt.Sprint("t", i)})
		s.must(err)
		want = append([]im.ID{v.ID}, want...)
	}
	for name, list := range map[string]func(before im.ID) (im.ConversationPage, error){
		"of the group": func(before im.ID) (im.ConversationPage, error) {
			return s.Threads(s.ctx, as("carol"), byID(s.group), before, 3)
		},
		"of bob": func(before im.ID) (im.ConversationPage, error) { return s.MyThreads(s.ctx, as("bob"), before, 3) },
	} {
		var got []im.ID
		for before := im.ID(0); ; {
			page, err := list(before)
			s.must(err)
			for _, v := range page.Items {
				got = append(got, v.ID)
			}
			if page.Next == nil {
				break
			}
			before = page.Next.ID
		}
		s.equal(name, got, want)
	}
}

// TestMessagesInThreads checks that the rules for messages apply in a thread.
func TestMessagesInThreads(t *testing.T) {
	s := newThread(t)
	d := text("with receipt")
	d.Receipt = true
	m := s.send("alice", byID(s.thread), d)
	s.read("bob", byID(s.thread), m.ID)
	got, err := s.Receipts(s.ctx, as("alice"), m.ID)
	s.must(err)
	s.equal("receipts", fmt.Sprint(got.Read[0].User, " ", len(got.Unread)), "bob 0")

	found, err := s.Search(s.ctx, as("carol"), im.SearchFilter{Words: "receipt", Limit: 10})
	s.must(err)
	s.equal("carol finds", len(found.Hits), 1)
	s.hide("carol", byID(s.thread), m.ID)
	s.equal("hidden", s.said("carol", byID(s.thread)), []string(nil))
	s.equal("not for others", s.said("bob", byID(s.thread)), []string{"with receipt"})

	s.pass(3 * time.Minute)
	_, err = s.Revoke(s.ctx, as("alice"), m.ID, im.RevokeNote{})
	s.equal("past the window", answer(err), "403 revoke_window_expired")
	_, err = s.Revoke(s.ctx, as("bob"), m.ID, im.RevokeNote{})
	s.equal("a message of another user", err, "permission_denied: you need the permission revoke_others here")
	s.revoke("admin", m.ID)

	wide := new(time.Hour)
	s.set("owner", s.group, im.ConversationPatch{RevokeWindow: &wide})
	m = s.say("alice", byID(s.thread), "again")
	s.pass(30 * time.Minute)
	s.revoke("alice", m.ID) // within the window of the group

	short := 10 * time.Second
	s.set("owner", s.group, im.ConversationPatch{ExpireAfter: &short})
	m = s.say("alice", byID(s.thread), "expiring")
	s.equal("expires as in the group", m.ExpiresAt.Sub(m.CreatedAt), short)
	erased, err := s.Erased(s.ctx, as("carol"), im.ErasureQuery{Limit: 10})
	s.must(err)
	s.equal("erasures that carol learns of", len(erased.Items), 1)

	s.equal("not in the list", len(s.list("alice")), 1)
	total, err := s.Unread(s.ctx, as("bob"), nil)
	s.must(err)
	s.equal("not in the totals", total.Total, 0)
}
