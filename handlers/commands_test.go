package handlers_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// commandOf is the body of a command with an action, and more members.
func commandOf(action, more string) string {
	return fmt.Sprintf(`{"type":"command","body":{"action":%q}%s}`, action, more)
}

// commands are the actions of the commands among the events before a message.
func (r *reader) commands(message string) (actions []string) {
	r.t.Helper()
	for _, v := range r.until(message) {
		if action, ok := v["action"].(string); ok {
			actions = append(actions, action)
		}
	}
	return actions
}

// In conversations of every kind, a command goes to the open streams of those who receive the
// messages, and with "to" to some of them.
func TestCommandsReachTheAudience(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type kind struct {
		conversation string
		members      []string // besides alice
	}
	group := w.group("alice", "bob", "carol")
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r"}`)["id"].(string)
	w.must(http.StatusOK, "bob", http.MethodPost, "/v1/conversations/"+room+"/join", "")
	space, channel := w.newSpace("alice", "bob", "carol")
	private := w.newChannel("alice", space, "private")
	w.must(http.StatusNoContent, "alice", http.MethodPut, "/v1/conversations/"+private+"/lists/allow/carol", "")
	thread := w.newThread("alice", w.say("alice", group, "root")["id"].(string))
	w.must(http.StatusOK, "carol", http.MethodPost, "/v1/conversations/"+thread+"/join", "")
	w.say("alice", "@bob", "hi")
	barrier := w.group("alice", "bob", "carol", "eve")
	listeners := []string{"alice phone", "alice tablet", "bob phone", "carol phone", "eve phone"}
	live := make(map[string]*reader)
	for _, name := range listeners {
		user, device, _ := strings.Cut(name, " ")
		live[name] = w.listen(user, nil, "X-Device-Id", device)
		live[name].expect("ready")
	}
	for name, k := range map[string]kind{
		"direct":          {"@bob", []string{"bob"}},
		"group":           {group, []string{"bob", "carol"}},
		"room":            {room, []string{"bob"}},
		"thread":          {thread, []string{"carol"}},
		"channel":         {channel, []string{"bob", "carol"}},
		"private channel": {private, []string{"carol"}},
	} {
		path := "/v1/conversations/" + k.conversation + "/messages"
		for _, body := range []string{
			commandOf("all", ""), commandOf("some", `,"to":["carol","eve","nobody"]`), commandOf("mine", `,"to":["alice"]`),
		} {
			a := w.must(http.StatusAccepted, "alice", http.MethodPost, path, body, "X-Device-Id", "phone")
			if a["id"] == nil || a["at"] == nil || len(a) != 2 {
				t.Errorf("%s: answered %v", name, a)
			}
		}
		end := w.say("alice", barrier, "end")["id"].(string)
		for _, listener := range listeners {
			user, device, _ := strings.Cut(listener, " ")
			var want []string
			if listener == "alice tablet" {
				want = []string{"all", "mine"}
			}
			if slices.Contains(k.members, user) && device == "phone" {
				want = append(want, "all")
			}
			if user == "carol" && slices.Contains(k.members, user) {
				want = append(want, "some")
			}
			if diff := cmp.Diff(want, live[listener].commands(end)); diff != "" {
				t.Errorf("%s, %s: unexpected commands (-want +received):\n%s", name, listener, diff)
			}
		}
	}
}

// The frame of a command has all that a client needs, and no id.
func TestCommandFrame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.say("alice", "@bob", "hi")["conversation_id"].(string)
	r := w.listen("bob", nil)
	r.expect("ready")
	a := w.must(http.StatusAccepted, "alice", http.MethodPost, toBob,
		`{"client_id":"c-1","type":"command","body":{"action":"typing","params":{"in":"text","n":1.50}}}`, "X-Device-Id", "phone")
	f, v := r.expect("command")
	want := map[string]any{
		"type": "command", "at": a["at"], "conversation_id": id, "command_id": a["id"], "sender": "alice", "sender_device": "phone",
		"client_id": "c-1", "action": "typing", "params": map[string]any{"in": "text", "n": 1.5},
	}
	if diff := cmp.Diff(want, v); diff != "" || f.id != "" {
		t.Errorf("id %q, unexpected event (-want +received):\n%s", f.id, diff)
	}
	// The data arrives unchanged, a number with all its digits.
	if !strings.Contains(f.data, `"n":1.50`) {
		t.Errorf("data %s", f.data)
	}
	w.must(http.StatusAccepted, "alice", http.MethodPost, toBob, commandOf("plain", ""))
	if _, v = r.expect("command"); len(v) != 6 {
		t.Errorf("without a device, client_id and params: %v", v)
	}
	// A repeated command is delivered again.
	for range 2 {
		w.must(http.StatusAccepted, "alice", http.MethodPost, toBob, commandOf("again", `,"client_id":"c-1"`))
	}
	_, first := r.expect("command")
	_, second := r.expect("command")
	if first["client_id"] != second["client_id"] || first["command_id"] == second["command_id"] {
		t.Errorf("%v and then %v", first, second)
	}
}

// A command changes nothing that is stored, and nobody can find it later.
func TestCommandsAreNotStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say("alice", "@bob", "hi")
	state := func() (all []string) {
		for _, path := range []string{
			"/v1/conversations", "/v1/conversations/@alice", "/v1/conversations/@alice/messages", "/v1/conversations/@alice/unread",
			"/v1/events/log?limit=1000", "/v1/messages/erased?since=2020-01-01T00:00:00Z", "/v1/messages/search?q=typing",
		} {
			all = append(all, string(w.do("bob", http.MethodGet, path, "").body))
		}
		admin := mint(t, auth.Grant{User: "root", Admin: true}, time.Minute)
		for _, path := range []string{"/v1/admin/export", "/v1/admin/erasures"} {
			all = append(all, string(w.do("", http.MethodGet, path, "", "Authorization", "Bearer "+admin).body))
		}
		return all
	}
	before := state()
	id := w.must(http.StatusAccepted, "alice", http.MethodPost, toBob, commandOf("typing", ""))["id"].(string)
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("the state has changed (-before +after):\n%s", diff)
	}
	for _, request := range [][2]string{
		{http.MethodGet, "/v1/messages/" + id},
		{http.MethodDelete, "/v1/messages/" + id},
		{http.MethodPost, "/v1/messages/" + id + "/revoke"},
		{http.MethodPost, "/v1/messages/" + id + "/burn"},
		{http.MethodGet, "/v1/messages/" + id + "/receipts"},
	} {
		body := ""
		if strings.HasSuffix(request[1], "/revoke") {
			body = "{}"
		}
		if a := w.do("alice", request[0], request[1], body); a.status != http.StatusNotFound {
			t.Errorf("%s %s: %d %s", request[0], request[1], a.status, a.body)
		}
	}
	// A stream that opens or resumes later gets no command, and a first command creates no direct
	// conversation.
	cursor := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/events/log?limit=1000", "")["cursor"].(string)
	open := w.listen("bob", nil)
	open.expect("ready")
	w.must(http.StatusAccepted, "alice", http.MethodPost, toBob, commandOf("missed", ""))
	open.event() // by then the hub has published it
	r := w.listen("bob", url.Values{"cursor": {cursor}})
	r.expect("ready")
	if actions := r.commands(w.say("alice", "@bob", "end")["id"].(string)); len(actions) > 0 {
		t.Errorf("received %q", actions)
	}
	w.must(http.StatusNotFound, "alice", http.MethodPost, "/v1/conversations/@eve/messages", commandOf("typing", ""))
	if a := w.do("eve", http.MethodGet, "/v1/conversations", ""); !strings.Contains(string(a.body), `"items":[]`) {
		t.Errorf("eve has %s", a.body)
	}
}

func TestCommandBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say("alice", "@bob", "hi")
	for body, want := range map[string]string{
		commandOf("a", ""): "202",
		`{"type":"comm\u0061nd","body":{"action":"a"}}`:       "202",
		commandOf("a", `,"client_id":"c"`):                    "202",
		commandOf("", ""):                                     "400 invalid_request body/action",
		commandOf(strings.Repeat("a", 129), ""):               "400 invalid_request body/action",
		`{"type":"command"}`:                                  "400 invalid_request body",
		`{"type":"command","body":{"action":"a","params":1}}`: "400 invalid_request body/params",
		`{"type":"command","body":{"text":"a"}}`:              "400 invalid_request body/text",
		commandOf("a", `,"ext":{}`):                           "400 invalid_request ext",
		commandOf("a", `,"push":{}`):                          "400 invalid_request push",
		commandOf("a", `,"burn":{"after_seconds":1}`):         "400 invalid_request burn",
		commandOf("a", `,"to":[]`):                            "400 invalid_request to",
		commandOf("a", `,"to":["bob","bob"]`):                 "400 invalid_request to",
		commandOf("a", `,"to":[""]`):                          "400 invalid_request to/0",
		`{"type":"command","body":{"action":"a","params":{"x":"` + strings.Repeat("x", 6000) + `"}}}`: "413 message_too_large body",
	} {
		a := w.do("alice", http.MethodPost, toBob, body)
		got := fmt.Sprint(a.status)
		if a.status >= http.StatusBadRequest {
			v := a.json(t)
			got = strings.TrimSpace(fmt.Sprintf("%d %v %v", a.status, v["code"], v["field"]))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

func TestRateOfCommands(t *testing.T) {
	t.Parallel()
	w, clock, counted := limitedWorld(t, 100, func(o *handlers.Options, _ *events.Options, _ *im.Policy) { o.CommandRate = 3 })
	w.say("alice", "@bob", "hi")
	spend := func(user, path string) (n int) {
		for ; n < 100; n++ {
			a := w.do(user, http.MethodPost, path, commandOf("typing", ""))
			if a.status == http.StatusTooManyRequests {
				if a.code(t) != "rate_limited" || a.header.Get("Retry-After") != "1" {
					t.Errorf("refused with %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
				}
				return n
			}
			if a.status != http.StatusAccepted {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		return n
	}
	if n := spend("alice", toBob); n != 6 {
		t.Errorf("%d commands at once, want twice the rate", n)
	}
	if n := spend("bob", "/v1/conversations/@alice/messages"); n != 6 {
		t.Errorf("%d commands of another user", n)
	}
	w.say("alice", "@bob", "messages are not commands")
	clock.move(time.Second)
	if n := spend("alice", toBob); n != 3 {
		t.Errorf("%d commands after a second, want the rate", n)
	}
	if n := counted.of("command"); n != 3 {
		t.Errorf("%d refusals were counted, want 3", n)
	}
	admin := mint(t, auth.Grant{User: "alice", Admin: true}, time.Minute)
	for range 20 {
		a := w.do("", http.MethodPost, toBob, commandOf("typing", ""), "Authorization", "Bearer "+admin)
		if a.status != http.StatusAccepted {
			t.Fatalf("an admin: %d %s", a.status, a.body)
		}
	}
}

// A user who loses access through a request gets no command that is sent after its answer.
func TestNoCommandAfterLosingAccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob", "carol")
	space, channel := w.newSpace("alice", "bob", "carol")
	thread := w.newThread("alice", w.say("alice", group, "root")["id"].(string))
	channelThread := w.newThread("alice", w.say("alice", channel, "root")["id"].(string))
	for _, id := range []string{thread, channelThread} {
		w.must(http.StatusOK, "bob", http.MethodPost, "/v1/conversations/"+id+"/join", "")
		w.must(http.StatusOK, "carol", http.MethodPost, "/v1/conversations/"+id+"/join", "")
	}
	barrier := w.group("alice", "bob", "carol")
	bob, carol := w.listen("bob", nil), w.listen("carol", nil)
	bob.expect("ready")
	carol.expect("ready")
	command := func(id, action string) {
		w.must(http.StatusAccepted, "alice", http.MethodPost, "/v1/conversations/"+id+"/messages", commandOf(action, ""))
	}
	for _, c := range []struct {
		what, method, path, body string
		in                       []string
	}{
		{"denied in the channel", http.MethodPut, "/v1/conversations/" + channel + "/lists/deny/bob", "", []string{channel, channelThread}},
		{"removed from the space", http.MethodDelete, "/v1/spaces/" + space + "/members/bob", "", []string{channel, channelThread}},
		{"removed from the group", http.MethodDelete, "/v1/conversations/" + group + "/members/bob", "", []string{group, thread}},
	} {
		for _, id := range c.in {
			command(id, "before")
		}
		a := w.do("alice", c.method, c.path, c.body)
		if a.status >= 300 {
			t.Fatalf("%s: %d %s", c.what, a.status, a.body)
		}
		for _, id := range c.in {
			command(id, "after")
		}
		end := w.say("alice", barrier, "end")["id"].(string)
		if got := bob.commands(end); slices.Contains(got, "after") {
			t.Errorf("%s: received %q", c.what, got)
		}
		if got := carol.commands(end); !slices.Contains(got, "after") {
			t.Errorf("%s: carol received %q", c.what, got)
		}
	}
}
