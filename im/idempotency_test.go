package im_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
)

// TestSendingAgain checks what repetitions of a client_id return, one request after the other.
func TestSendingAgain(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "owner", "bob", "carol")
	other := w.group(im.HistoryAll, "owner", "bob")
	quoted := w.say("owner", byID(group), "a message to answer")
	draft := im.Draft{
		ClientID: "c1", Type: im.Custom,
		Body: []byte(`{"name":"order","data":{"a":1,"b":[2.50,"é"]}}`), Ext: []byte(`{"x":1,"y":{}}`),
		Mentions: []im.UserID{"carol"}, ReplyTo: quoted.ID.String(), Receipt: true, Push: []byte(`{"t":1,"u":2}`),
	}
	sent, err := w.Send(w.ctx, on("bob", "phone"), byID(group), draft)
	w.must(err)
	first := sent.Message
	w.say("owner", byID(group), "something in between")
	before := len(w.committed())

	encodedAnew := draft
	encodedAnew.Body = []byte("{ \"data\": {\"b\":[2.50,\"\\u00e9\"], \"a\":1},\n\"name\":\"ord\\u0065r\" }")
	encodedAnew.Ext = []byte(`{"y":{},"x":1}`)
	encodedAnew.Push = []byte(` {"u":2,"t":1}`)
	change := func(fn func(*im.Draft)) im.Draft {
		d := draft
		fn(&d)
		return d
	}
	for _, test := range []struct {
		name  string
		actor im.Actor
		ref   im.ConversationRef
		draft im.Draft
		want  string // "again", or the refusal
	}{
		{"the same", on("bob", "phone"), byID(group), draft, "again"},
		{"the same, on another device", on("bob", "laptop"), byID(group), draft, "again"},
		{"the same, encoded differently", as("bob"), byID(group), encodedAnew, "again"},
		{"another text", as("bob"), byID(group), change(func(d *im.Draft) { d.Body = []byte(`{"name":"order"}`) }), "409 client_id_reused"},
		{"another type", as("bob"), byID(group), change(func(d *im.Draft) { d.Type, d.Body = im.Text, []byte(`{"text":"hi"}`) }), "409 client_id_reused"},
		{"another number literal", as("bob"), byID(group), change(func(d *im.Draft) { d.Ext = []byte(`{"x":1.0,"y":{}}`) }), "409 client_id_reused"},
		{"no mentions", as("bob"), byID(group), change(func(d *im.Draft) { d.Mentions = nil }), "409 client_id_reused"},
		{"no reply_to", as("bob"), byID(group), change(func(d *im.Draft) { d.ReplyTo = "" }), "409 client_id_reused"},
		{"no receipt", as("bob"), byID(group), change(func(d *im.Draft) { d.Receipt = false }), "409 client_id_reused"},
		{"other push", as("bob"), byID(group), change(func(d *im.Draft) { d.Push = []byte(`{}`) }), "409 client_id_reused"},
		{"another conversation", as("bob"), byID(other), draft, "409 client_id_reused"},
		{"a direct conversation that does not exist yet", as("bob"), direct("carol"), draft, "409 client_id_reused"},
		{"an unknown conversation", as("bob"), byID(group + 1), draft, "404 conversation_not_found"},
	} {
		sent, err := w.Send(w.ctx, test.actor, test.ref, test.draft)
		got := answer(err)
		if err == nil {
			got = "sent"
			if sent.Again {
				got = "again"
				if diff := cmp.Diff(first, sent.Message); diff != "" {
					t.Errorf("%s (-want +got):\n%s", test.name, diff)
				}
			}
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	w.equal("events of all that", len(w.committed())-before, 0)
	_, err = w.Conversation(w.ctx, as("bob"), direct("carol"))
	w.equal("a direct conversation was created", answer(err), "404 conversation_not_found")

	w.step("each sender has their own client_ids", func() {
		sent, err := w.Send(w.ctx, as("carol"), byID(group), draft)
		w.must(err)
		if sent.Again || sent.Message.ID == first.ID {
			w.Errorf("carol's first message is %+v", sent)
		}
	})
	w.step("without a client_id, every message is a new one", func() {
		without := change(func(d *im.Draft) { d.ClientID = "" })
		a, err := w.Send(w.ctx, as("bob"), byID(group), without)
		w.must(err)
		b, err := w.Send(w.ctx, as("bob"), byID(group), without)
		w.must(err)
		if a.Again || b.Again || a.Message.ID == b.Message.ID {
			w.Errorf("sent twice without a client_id: %+v, %+v", a, b)
		}
	})
}

// A repetition returns the message for as long as the sender may know of it.
func TestSendingAgainAfterLosingAccess(t *testing.T) {
	w := newWorld(t)
	draft := text("hi")
	draft.ClientID = "direct"
	first, err := w.Send(w.ctx, as("bob"), direct("alice"), draft)
	w.must(err)
	other := text("other words")
	other.ClientID = "direct"
	again := func(ref im.ConversationRef, d im.Draft) string {
		sent, err := w.Send(w.ctx, as("bob"), ref, d)
		if err == nil && (!sent.Again || sent.Message.Content == nil) {
			return "sent"
		}
		return answer(err)
	}
	w.equal("by id", again(byID(first.Message.Conversation), draft), "ok")
	w.must(w.PutBlock(w.ctx, as("alice"), "bob"))
	w.equal("after the block", again(direct("alice"), draft), "ok")
	w.equal("other words after the block", again(direct("alice"), other), "403 blocked")

	group := w.group(im.HistoryJoined, "owner", "bob")
	draft.ClientID = "group"
	_, err = w.Send(w.ctx, as("bob"), byID(group), draft)
	w.must(err)
	w.equal("while a member", again(byID(group), draft), "ok")
	w.must(w.Leave(w.ctx, as("bob"), byID(group)))
	w.equal("after leaving", again(byID(group), draft), "404 conversation_not_found")
	w.back(group, "owner", "bob")
	w.equal("back again", again(byID(group), draft), "ok")
}

func TestReplies(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryJoined, "owner", "bob")
	other := w.group(im.HistoryJoined, "owner", "bob")
	early := w.say("owner", byID(group), "before carol")
	elsewhere := w.say("owner", byID(other), "elsewhere")
	w.add(group, "owner", im.Member, "carol")
	seen := w.say("owner", byID(group), "after carol")
	dm := w.say("owner", direct("bob"), "between us")
	before := len(w.committed())
	for _, test := range []struct {
		name    string
		as      im.UserID
		ref     im.ConversationRef
		replyTo string
		want    string
	}{
		{"a message of the conversation", "bob", byID(group), early.ID.String(), "ok"},
		{"their own message", "owner", byID(group), early.ID.String(), "ok"},
		{"a message since joining", "carol", byID(group), seen.ID.String(), "ok"},
		{"a message of a direct conversation", "bob", direct("owner"), dm.ID.String(), "ok"},
		{"a message from before joining", "carol", byID(group), early.ID.String(), "422 reply_to_not_found"},
		{"a message of another conversation", "bob", byID(group), elsewhere.ID.String(), "422 reply_to_not_found"},
		{"a message of a group, in a direct conversation", "bob", direct("owner"), early.ID.String(), "422 reply_to_not_found"},
		{"a message of a conversation without the sender", "carol", byID(group), elsewhere.ID.String(), "422 reply_to_not_found"},
		{"a message that does not exist", "bob", byID(group), (early.ID + 1).String(), "422 reply_to_not_found"},
		{"the id of the conversation", "bob", byID(group), group.String(), "422 reply_to_not_found"},
		{"text that is not an id", "bob", byID(group), "no id", "422 reply_to_not_found"},
		{"a message of a group, in a new direct conversation", "bob", direct("carol"), early.ID.String(), "422 reply_to_not_found"},
	} {
		d := text("an answer")
		d.ReplyTo = test.replyTo
		sent, err := w.Send(w.ctx, as(test.as), test.ref, d)
		if got := answer(err); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if err != nil {
			continue
		}
		m, err := w.Message(w.ctx, as(test.as), sent.Message.ID)
		w.must(err)
		w.equal(test.name, m.ReplyTo.String(), test.replyTo)
	}
	w.equal("events of the sent messages", len(w.committed())-before, 4)
	_, err := w.Conversation(w.ctx, as("bob"), direct("carol"))
	w.equal("bob and carol", answer(err), "404 conversation_not_found")
}
