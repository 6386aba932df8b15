package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// command returns a command with an action.
func command(action string) im.CommandDraft {
	return im.CommandDraft{Body: fmt.Appendf(nil, `{"action":%q}`, action)}
}

func TestCommand(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "alice", "bob")
	before := len(w.committed())
	got, err := w.Command(w.ctx, on("alice", "phone"), byID(group), im.CommandDraft{
		ClientID: "c-1", Body: []byte(` { "params" : {"b":1, "a":[ ]}, "action": "typ\u0069ng" } `), To: []im.UserID{"bob", "eve"},
	})
	w.must(err)
	if got.ID == 0 || got.Conversation != group || got.Sender != "alice" || got.SenderDevice != "phone" || got.ClientID != "c-1" ||
		!got.At.Equal(epoch) || string(got.Action) != `"typing"` || string(got.Params) != `{"a":[],"b":1}` || len(got.To) != 2 {
		t.Errorf("got %+v", got)
	}
	again, err := w.Command(w.ctx, on("alice", "phone"), byID(group), im.CommandDraft{ClientID: "c-1", Body: []byte(`{"action":"typing"}`)})
	if err != nil || again.ID <= got.ID || again.Params != nil {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	// Nothing was stored, and a message may have the same client_id.
	if n := len(w.committed()); n != before {
		t.Errorf("%d events", n-before)
	}
	d := text("hi")
	d.ClientID = "c-1"
	sent, err := w.Send(w.ctx, as("alice"), byID(group), d)
	if err != nil || sent.Again || sent.Message.Seq != 1 {
		t.Errorf("sent %+v, %v", sent, err)
	}
}

func TestCommandDraft(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "alice", "bob")
	body := func(text string) im.CommandDraft { return im.CommandDraft{Body: []byte(text)} }
	of := func(size int) im.CommandDraft {
		const around = len(`{"action":"a","params":{"x":""}}`)
		return body(`{"action":"a","params":{"x":"` + strings.Repeat("x", size-around) + `"}}`)
	}
	with := func(change func(*im.CommandDraft)) im.CommandDraft {
		d := command("a")
		change(&d)
		return d
	}
	users := func(n int) (list []im.UserID) {
		for i := range n {
			list = append(list, im.UserID(fmt.Sprintf("u%d", i)))
		}
		return list
	}
	most := im.DefaultPolicy().MaxMessageBytes
	for name, tt := range map[string]struct {
		draft im.CommandDraft
		want  string
	}{
		"an action":                   {command("typing"), "ok"},
		"the longest action":          {command(strings.Repeat("語", im.MaxAction)), "ok"},
		"the largest body":            {of(most), "ok"},
		"to with 200 users":           {with(func(d *im.CommandDraft) { d.To = users(im.MaxCommandTo) }), "ok"},
		"no body":                     {im.CommandDraft{}, "400 invalid_request body"},
		"body that is not an object":  {body(`"typing"`), "400 invalid_request body"},
		"body that is not JSON":       {body(`{"action":}`), "400 invalid_request body"},
		"no action":                   {body(`{}`), "400 invalid_request body/action"},
		"an empty action":             {command(""), "400 invalid_request body/action"},
		"action that is a number":     {body(`{"action":1}`), "400 invalid_request body/action"},
		"action that is null":         {body(`{"action":null}`), "400 invalid_request body/action"},
		"an action that is too long":  {command(strings.Repeat("a", im.MaxAction+1)), "400 invalid_request body/action"},
		"params that are a list":      {body(`{"action":"a","params":[]}`), "400 invalid_request body/params"},
		"params that are null":        {body(`{"action":"a","params":null}`), "400 invalid_request body/params"},
		"body with another member":    {body(`{"action":"a","text":"x"}`), "400 invalid_request body"},
		"number beyond float64":       {body(`{"action":"a","params":{"n":1e400}}`), "400 invalid_request body"},
		"a body that is too large":    {of(most + 1), "413 message_too_large body"},
		"client_id that is not ASCII": {with(func(d *im.CommandDraft) { d.ClientID = "é" }), "400 invalid_request client_id"},
		"to without users":            {with(func(d *im.CommandDraft) { d.To = []im.UserID{} }), "400 invalid_request to"},
		"to with 201 users":           {with(func(d *im.CommandDraft) { d.To = users(im.MaxCommandTo + 1) }), "400 invalid_request to"},
		"to with an invalid user id":  {with(func(d *im.CommandDraft) { d.To = []im.UserID{"bob", ".."} }), "400 invalid_request to/1"},
		"to with ids that are too long together": {with(func(d *im.CommandDraft) {
			for i := range 100 {
				d.To = append(d.To, im.UserID(fmt.Sprintf("%0128d", i)))
			}
		}), "413 message_too_large to"},
	} {
		_, err := w.Command(w.ctx, as("alice"), byID(group), tt.draft)
		if got := field(err); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// A command is refused like a message of its sender, except that slow mode does not apply.
func TestCommandIsAllowedLikeAMessage(t *testing.T) {
	w := newWorld(t)
	group := w.group(im.HistoryAll, "alice", "bob", "carol", "dave")
	slow, muted := time.Hour, true
	w.must1(w.MuteMember(w.ctx, as("alice"), byID(group), "carol", time.Hour))
	w.remove(group, "alice", "dave")
	w.say("bob", direct("alice"), "hi")
	w.say("eve", direct("alice"), "hi")
	w.must(w.PutBlock(w.ctx, as("alice"), "eve"))
	check := func(what string, who im.UserID, ref im.ConversationRef, want string) {
		t.Helper()
		_, err := w.Command(w.ctx, as(who), ref, command("typing"))
		if got := answer(err); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("a member", "bob", byID(group), "ok")
	check("a muted member", "carol", byID(group), "403 permission_denied")
	check("a former member", "dave", byID(group), "404 conversation_not_found")
	check("nobody", "eve", byID(group), "404 conversation_not_found")
	check("a peer", "alice", direct("bob"), "ok")
	check("a blocked peer", "eve", direct("alice"), "403 blocked")
	check("a peer who has blocked", "alice", direct("eve"), "ok")
	check("no direct conversation", "bob", direct("carol"), "404 conversation_not_found")
	check("myself", "bob", direct("bob"), "422 direct_with_self")
	if list := w.list("carol"); len(list) != 1 {
		t.Errorf("carol has %+v", list)
	}

	w.set("alice", group, im.ConversationPatch{SlowMode: &slow})
	w.say("bob", byID(group), "one an hour")
	w.pass(time.Second)
	check("slow mode", "bob", byID(group), "ok")
	w.pass(slow)
	check("and again", "bob", byID(group), "ok")
	w.say("bob", byID(group), "a command does not count")
	w.set("alice", group, im.ConversationPatch{MuteAll: &muted})
	check("all muted", "bob", byID(group), "403 permission_denied")
	w.must(w.DeleteConversation(w.ctx, as("alice"), byID(group)))
	check("deleted", "alice", byID(group), "404 conversation_not_found")
}
