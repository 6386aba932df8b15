package im_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// server is the actor of server sends, an admin.
var server = im.Actor{User: "root", Device: "server", Admin: true}

// sendAs sends a text and returns the results as "target: seq", with "again" for a message that
// existed already, or a refusal.
func (w *world) sendAs(as im.UserID, d im.Draft, to ...string) (results []string) {
	w.Helper()
	list, err := w.SendAs(w.ctx, server, as, to, d)
	w.must(err)
	for _, r := range list {
		text := fmt.Sprintf("%s: %s", r.To, field(r.Err))
		if r.Err == nil {
			text = fmt.Sprintf("%s: %d", r.To, r.Message.Seq)
			if r.Again {
				text += " again"
			}
		}
		results = append(results, text)
	}
	return results
}

func TestSendAs(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "alice", "bob")
	w.say("alice", byID(group), "first")
	d := text("from the server")
	w.equal("results", w.sendAs("alice", d, "@bob", group.String(), "nonsense", "@alice", "@bob"), []string{
		"@bob: 1", group.String() + ": 2", "nonsense: 404 conversation_not_found", "@alice: 422 direct_with_self to", "@bob: 1",
	})
	// It is published like any message, to all devices of its sender, and names no admin.
	for _, actor := range []im.Actor{on("alice", "server"), as("bob")} {
		w.equal("received by "+string(actor.User), w.received(actor), []string{
			"conversation.created", "message 1 first", "conversation.created", "message 1 from the server", "message 2 from the server",
		})
	}
	for _, e := range w.committed() {
		if e.Actor == "root" || e.ActorDevice != "" {
			t.Errorf("an event names the admin: %+v", e)
		}
	}
	w.equal("bob's unread", w.unread("bob", direct("alice")), "1/0")
	if list := w.list("root"); len(list) != 0 {
		t.Errorf("the admin is in %+v", list)
	}
	// Without a client_id, a repetition is a new message.
	w.equal("repeated", w.sendAs("alice", d, "@bob"), []string{"@bob: 2"})
}

func TestSendAsIsForAdmins(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "alice", "bob").String()
	many := make([]string, im.MaxSendAs+1)
	for i := range many {
		many[i] = fmt.Sprintf("@u%d", i)
	}
	long := text("%s", strings.Repeat("x", im.DefaultPolicy().MaxMessageBytes))
	mention := text("hi")
	mention.Mentions = []im.UserID{""}
	for name, tt := range map[string]struct {
		actor im.Actor
		as    im.UserID
		to    []string
		draft im.Draft
		want  string
	}{
		"no admin":            {as("alice"), "alice", []string{group}, text("hi"), "403 admin_required"},
		"no admin, no sender": {as("alice"), "", nil, im.Draft{}, "403 admin_required"},
		"no sender":           {server, "", []string{group}, text("hi"), "400 invalid_request as"},
		"no target":           {server, "alice", nil, text("hi"), "400 invalid_request to"},
		"too many targets":    {server, "alice", many, text("hi"), "400 invalid_request to"},
		"too large":           {server, "alice", []string{group}, long, "413 message_too_large message/body"},
		"a bad mention":       {server, "alice", []string{group}, mention, "400 invalid_request message/mentions/0"},
		"no message":          {server, "alice", []string{group}, im.Draft{Type: im.Text}, "400 invalid_request message/body"},
		"a command":           {server, "alice", []string{group}, im.Draft{Body: text("hi").Body}, "422 command_unsupported message/type"},
	} {
		_, err := w.SendAs(w.ctx, tt.actor, tt.as, tt.to, tt.draft)
		if got := field(err); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if list := w.said("alice", byID(mustID(t, group))); len(list) != 0 {
		t.Errorf("sent %q", list)
	}
}

func mustID(t *testing.T, s string) im.ID {
	t.Helper()
	id, ok := im.ParseID(s)
	if !ok {
		t.Fatal(s)
	}
	return id
}

// The restrictions of users do not apply to an admin; the rules for the message itself do.
func TestSendAsIgnoresRestrictions(t *testing.T) {
	w := newWorld(t)
	asked(w, im.Presend{}, func(context.Context, im.PresendQuestion) (im.PresendAnswer, error) {
		return im.PresendAnswer{Action: im.PresendRefuse, Code: "no"}, nil
	})
	group := w.group(im.HistoryAll, "alice", "bob", "carol")
	w.equal("the hook is not asked", w.sendAs("alice", text("root"), group.String()), []string{group.String() + ": 1"})
	slow, muted := time.Hour, true
	w.set("alice", group, im.ConversationPatch{SlowMode: &slow, MuteAll: &muted})
	w.must1(w.MuteMember(w.ctx, as("alice"), byID(group), "bob", time.Hour))
	w.must(w.PutBlock(w.ctx, as("carol"), "bob"))
	all := text("to all")
	all.MentionAll = true
	for seq := 2; seq < 4; seq++ {
		w.equal("muted, slow, without the permission", w.sendAs("bob", all, group.String()), []string{fmt.Sprintf("%s: %d", group, seq)})
	}
	w.equal("blocked", w.sendAs("bob", text("hi"), "@carol"), []string{"@carol: 1"})
	w.equal("not a member", w.sendAs("support", text("hi"), group.String()), []string{group.String() + ": 4"})
	w.equal("unread", w.unread("carol", byID(group)), "4/2")
	if list := w.list("support"); len(list) != 0 {
		t.Errorf("the sender became a member: %+v", list)
	}

	burn := text("hot")
	burn.Burn = &im.Burn{After: time.Second, UnreadTTL: time.Hour}
	w.equal("burn", w.sendAs("bob", burn, "@carol", group.String()), []string{"@carol: 2", group.String() + ": 422 burn_unsupported message/burn"})
	quote := text("re")
	quote.ReplyTo = w.firstIn("alice", group).String()
	w.equal("reply", w.sendAs("bob", quote, group.String(), "@carol"), []string{group.String() + ": 5", "@carol: 422 reply_to_not_found message/reply_to"})
	w.equal("reply to a message of another conversation", w.sendAs("support", quote, group.String()), []string{group.String() + ": 422 reply_to_not_found message/reply_to"})
	// Only its two users can send to a direct conversation.
	dm := w.directOf("carol")
	w.equal("another's direct conversation", w.sendAs("eve", text("hi"), dm.String()), []string{dm.String() + ": 404 conversation_not_found"})
	w.must(w.DeleteConversation(w.ctx, as("alice"), byID(group)))
	w.equal("deleted", w.sendAs("alice", text("hi"), group.String()), []string{group.String() + ": 404 conversation_not_found"})
}

// directOf returns the only direct conversation of a user.
func (w *world) directOf(user im.UserID) im.ID {
	w.Helper()
	for _, v := range w.list(user) {
		if v.Conversation.Kind == im.Direct {
			return v.Conversation.ID
		}
	}
	w.Fatalf("%s has no direct conversation", user)
	return 0
}

// firstIn returns the id of the first message that a user may read.
func (w *world) firstIn(user im.UserID, id im.ID) im.ID {
	w.Helper()
	page, err := w.Messages(w.ctx, as(user), byID(id), im.HistoryFilter{Ascending: true, Limit: 1})
	w.must(err)
	return page.Messages[0].ID
}

// A message sent as somebody who cannot see the thread still expires by the setting of the parent.
func TestSendAsExpires(t *testing.T) {
	w := newWorld(t)
	after := time.Minute
	group := w.group(im.HistoryAll, "alice", "bob")
	w.set("alice", group, im.ConversationPatch{ExpireAfter: &after})
	thread, err := w.CreateThread(w.ctx, as("alice"), w.say("alice", byID(group), "root").ID, im.ThreadDraft{Name: "t"})
	w.must(err)
	for _, id := range []im.ID{group, thread.ID} {
		for _, user := range []im.UserID{"alice", "support"} {
			results, err := w.SendAs(w.ctx, server, user, []string{id.String()}, text("hi"))
			w.must(err)
			if m := results[0].Message; results[0].Err != nil || !m.ExpiresAt.Equal(m.CreatedAt.Add(after)) {
				t.Errorf("as %s to %s: %+v, %v", user, id, m, results[0].Err)
			}
		}
	}
}

// A repetition sends what is missing and nothing twice, however a conversation is named, in
// which order, and after which interruption.
func TestSendAsIsIdempotentForEachTarget(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "alice", "bob")
	other := w.group(im.HistoryAll, "zoe")
	d := text("hi")
	d.ClientID = strings.Repeat("c", im.MaxClientID)
	full := im.Refuse(im.Full, "storage_full", "for a test")
	w.stepping(func(n int64) error {
		if n == 3 {
			return full
		}
		return nil
	})
	to := []string{"@bob", group.String(), other.String(), "@carol"}
	w.equal("the disk becomes full", w.sendAs("alice", d, to...), []string{
		"@bob: 1", group.String() + ": 1", other.String() + ": 507 storage_full", "@carol: 507 storage_full",
	})
	dm := w.directOf("bob")
	again := append([]string{dm.String()}, to...)
	w.equal("the rest", w.sendAs("alice", d, again...), []string{
		dm.String() + ": 1 again", "@bob: 1 again", group.String() + ": 1 again", other.String() + ": 1", "@carol: 1",
	})
	w.equal("all", w.sendAs("alice", d, again...), []string{
		dm.String() + ": 1 again", "@bob: 1 again", group.String() + ": 1 again", other.String() + ": 1 again", "@carol: 1 again",
	})
	changed := text("other")
	changed.ClientID = d.ClientID
	w.equal("another message", w.sendAs("alice", changed, "@bob", "@dave"), []string{"@bob: 409 client_id_reused message/client_id", "@dave: 1"})
	// The same client_id of another sender, or of the sender's own messages, is a different one.
	w.equal("another sender", w.sendAs("bob", d, "@carol"), []string{"@carol: 1"})
	sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
	if err != nil || sent.Again {
		t.Errorf("alice's own: %+v, %v", sent, err)
	}
	// A message that was revoked is not sent again.
	w.must1(w.Revoke(w.ctx, server, w.firstIn("alice", group), im.RevokeNote{}))
	results, err := w.SendAs(w.ctx, server, "alice", []string{group.String()}, d)
	w.must(err)
	if r := results[0]; !r.Again || r.Message.State != im.Revoked {
		t.Errorf("a revoked message: %+v", r)
	}
}

// A request with many targets delays others no more than the same number of sends.
func TestSendAsTakesTurns(t *testing.T) {
	w := newWorld(t)
	var to []string
	for i := range 20 {
		to = append(to, fmt.Sprintf("@u%d", i))
	}
	store := w.stepping(nil)
	results, err := w.SendAs(w.ctx, server, "alice", to, text("hi"))
	w.must(err)
	for _, r := range results {
		w.must(r.Err)
	}
	w.equal("transactions", []int64{store.writes.Load(), store.bulk.Load()}, []int64{20, 20})
}

// A user cannot know the client_ids of server sends beforehand, and so cannot use one first,
// because each server derives different ones.
func TestClientIDsOfServerSends(t *testing.T) {
	d := text("hi")
	d.ClientID = "maintenance-7"
	seen := make(map[string]bool)
	for range 2 {
		w := newWorld(t)
		results, err := w.SendAs(w.ctx, server, "alice", []string{"@bob", "@carol"}, d)
		w.must(err)
		for _, r := range results {
			w.must(r.Err)
			if !strings.HasPrefix(r.Message.ClientID, "as.") {
				t.Errorf("the message to %s has the client_id %q", r.To, r.Message.ClientID)
			}
			seen[r.Message.ClientID] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("two servers send to two users under %d client_ids, want 4", len(seen))
	}
}
