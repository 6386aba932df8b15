package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
)

// TestLosingAConversation takes a conversation of each kind away from a reader and a publisher, in
// every way. The requests of both end, and those of others do not.
func TestLosingAConversation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type scene struct {
		conversation string
		lose         func()
		// pushOnly is set if only the right to push is lost.
		pushOnly bool
	}
	must := func(status int, user, method, path, body string) func() {
		return func() { t.Helper(); w.must(status, user, method, path, body) }
	}
	ok, none := http.StatusOK, http.StatusNoContent
	group := func() string { return w.group("owner", "bob", "carol") }
	space := func() (string, string) { return w.newSpace("owner", "bob", "carol") }
	for name, build := range map[string]func() scene{
		"left a group": func() scene {
			g := group()
			return scene{g, must(none, "bob", "POST", "/v1/conversations/"+g+"/leave", ""), false}
		},
		"removed from a group": func() scene {
			g := group()
			return scene{g, must(none, "owner", "DELETE", "/v1/conversations/"+g+"/members/bob", ""), false}
		},
		"denied in a group": func() scene {
			g := group()
			return scene{g, must(none, "owner", "PUT", "/v1/conversations/"+g+"/lists/deny/bob", ""), false}
		},
		"muted in a group": func() scene {
			g := group()
			return scene{g, must(ok, "owner", "PUT", "/v1/conversations/"+g+"/members/bob/mute", `{}`), true}
		},
		"left a room": func() scene {
			g := w.must(http.StatusCreated, "owner", "POST", "/v1/conversations", `{"kind":"room","name":"r","members":["bob","carol"]}`)["id"].(string)
			return scene{g, must(none, "bob", "POST", "/v1/conversations/"+g+"/leave", ""), false}
		},
		"blocked in a direct conversation": func() scene {
			c := w.say("owner", "@bob", "hi")["conversation_id"].(string)
			return scene{c, must(none, "owner", "PUT", "/v1/blocks/bob", ""), false}
		},
		"thread of a group": func() scene {
			g := group()
			th := w.newThread("owner", w.say("owner", g, "root")["id"].(string))
			for _, u := range []string{"bob", "carol"} {
				w.must(ok, u, "POST", "/v1/conversations/"+th+"/join", "")
			}
			return scene{th, must(none, "owner", "DELETE", "/v1/conversations/"+g+"/members/bob", ""), false}
		},
		"channel hidden by a list": func() scene {
			_, c := space()
			return scene{c, must(none, "owner", "PUT", "/v1/conversations/"+c+"/lists/deny/bob", ""), false}
		},
		"channel hidden by a role": func() scene {
			s, c := space()
			role := w.newRole("owner", s, `{}`)
			w.must(ok, "owner", "PUT", "/v1/conversations/"+c+"/overrides/"+role, `{"permissions":{"view":"deny"}}`)
			return scene{c, must(none, "owner", "PUT", "/v1/spaces/"+s+"/roles/"+role+"/members/bob", ""), false}
		},
		"channel hidden by an override": func() scene {
			s, c := space()
			role := w.newRole("owner", s, `{}`)
			w.must(none, "owner", "PUT", "/v1/spaces/"+s+"/roles/"+role+"/members/bob", "")
			return scene{c, must(ok, "owner", "PUT", "/v1/conversations/"+c+"/overrides/"+role, `{"permissions":{"view":"deny"}}`), false}
		},
		"send denied by a role": func() scene {
			s, c := space()
			role := w.newRole("owner", s, `{"send":"deny"}`)
			return scene{c, must(none, "owner", "PUT", "/v1/spaces/"+s+"/roles/"+role+"/members/bob", ""), true}
		},
		"removed from a space": func() scene {
			s, c := space()
			return scene{c, must(none, "owner", "DELETE", "/v1/spaces/"+s+"/members/bob", ""), false}
		},
		"thread of a hidden channel": func() scene {
			_, c := space()
			th := w.newThread("owner", w.say("owner", c, "root")["id"].(string))
			for _, u := range []string{"bob", "carol"} {
				w.must(ok, u, "POST", "/v1/conversations/"+th+"/join", "")
			}
			return scene{th, must(none, "owner", "PUT", "/v1/conversations/"+c+"/lists/deny/bob", ""), false}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inner := w.in(t)
			sc := build()
			s := inner.startStream("owner", `{"conversation_id":"`+sc.conversation+`","access":"members","publishers":["bob","carol"]}`)
			lost := inner.readStream("bob", s+"/events")
			kept := lost
			direct := name == "blocked in a direct conversation"
			if !direct {
				kept = inner.readStream("carol", s+"/events")
			}
			p := inner.openPush("bob", s+"/frames", "application/x-ndjson")
			p.send(`{"text":"before"}` + "\n")
			lost.wantFrames("before")
			began := time.Now()
			sc.lose()
			if a := p.wait(); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
				t.Errorf("the publisher was answered %d %s", a.status, a.body)
			}
			if sc.pushOnly {
				inner.pushText("owner", s, "after")
				lost.wantFrames("after")
			} else {
				if f, ok := lost.next(); ok {
					t.Errorf("the reader got %+v", f)
				}
				if a := inner.do("bob", http.MethodGet, s+"/events", ""); a.status != http.StatusNotFound && a.code(t) != "blocked" {
					t.Errorf("reading again: %d %s", a.status, a.body)
				}
			}
			t.Log("both ended after", time.Since(began))
			if direct {
				return
			}
			inner.pushText("owner", s, "still")
			if sc.pushOnly {
				kept.wantFrames("before", "after", "still")
			} else {
				kept.wantFrames("before", "still")
			}
		})
	}
}

// TestOwnerLosesTheConversation: the data streams of an owner end when the owner loses the
// conversation, and when it is deleted.
func TestOwnerLosesTheConversation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob", "carol")
	s := w.startStream("bob", `{"conversation_id":"`+group+`","access":"members"}`)
	r := w.readStream("carol", s+"/events")
	w.must(http.StatusNoContent, "bob", http.MethodPost, "/v1/conversations/"+group+"/leave", "")
	r.wantEnded("owner")

	s = w.startStream("alice", `{"conversation_id":"`+group+`","access":"members"}`)
	r = w.readStream("carol", s+"/events")
	w.must(http.StatusNoContent, "alice", http.MethodDelete, "/v1/conversations/"+group+"?scope=everyone", "")
	// carol loses the conversation by the same commit: the answer may end with or without the
	// reason.
	if f, ok := r.next(); ok && (f.event != "stream.ended" || !strings.Contains(f.data, `"deleted"`)) {
		t.Errorf("carol got %+v", f)
	}
}

// TestTokensEndRequests cuts off the tokens of a reader and a publisher, and lets those of others
// expire.
func TestTokensEndRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"anyone","publishers":["bob","carol"]}`)
	check := func(name, token, code string, end func()) {
		t.Helper()
		r := w.readStreamAs(token, s+"/events?from=now")
		p := w.openPushAs(http.DefaultClient, token, s+"/frames", "application/x-ndjson")
		p.send(`{"text":"x"}` + "\n")
		r.wantFrames("x")
		end()
		if a := p.wait(); a.status != http.StatusUnauthorized || a.code(t) != code {
			t.Errorf("%s: the publisher was answered %d %s", name, a.status, a.body)
		}
		if f, ok := r.next(); ok {
			t.Errorf("%s: the reader got %+v", name, f)
		}
	}
	check("cut off", tokenOf(t, "bob"), "token_cut_off", func() {
		w.send(w.adminRequest(http.MethodPost, "/v1/admin/users/bob/tokens/cut", ""))
	})
	check("expired", tokenOf(t, "carol"), "token_expired", func() { w.streamClock.move(24 * time.Hour) })
}

// adminRequest is a request of an admin.
func (w *world) adminRequest(method, path, body string) *http.Request {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+mint(w.t, auth.Grant{User: "root", Admin: true}, time.Minute))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// TestAdminsActAsAnyone starts data streams and pushes to them as other users.
func TestAdminsActAsAnyone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob")
	a := w.send(w.adminRequest(http.MethodPost, "/v1/streams", `{"as":"alice","conversation_id":"`+group+`","access":"members"}`))
	if a.status != http.StatusCreated || a.json(t)["owner"] != "alice" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s := "/v1/streams/" + a.json(t)["id"].(string)
	r := w.readStream("bob", s+"/events")
	for _, user := range []string{"alice", "stranger"} {
		if a := w.send(w.adminRequest(http.MethodPost, s+"/frames?as="+user, `{"text":"x"}`)); a.status != http.StatusOK {
			t.Errorf("as %s: %d %s", user, a.status, a.body)
		}
		if _, v := r.dataFrame(); v["from"] != user {
			t.Errorf("the frame is from %v, want %s", v["from"], user)
		}
	}
	if a := w.send(w.adminRequest(http.MethodGet, s+"/events", "")); a.code(t) != "not_reader" {
		t.Errorf("an admin who is no reader: %d %s", a.status, a.body)
	}
	if a := w.send(w.adminRequest(http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"x"}}}`)); a.status != http.StatusOK {
		t.Errorf("end: %d %s", a.status, a.body)
	}
	id := r.wantEnded("message")["message_id"].(string)
	if m := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/messages/"+id, ""); m["sender"] != "alice" {
		t.Errorf("the message is from %v", m["sender"])
	}
	for path, body := range map[string]string{"/v1/streams": `{"as":"bob","access":"anyone"}`, s + "/frames?as=bob": `{"text":"x"}`} {
		if a := w.do("alice", http.MethodPost, path, body); a.code(t) != "admin_required" {
			t.Errorf("%s by a user: %d %s", path, a.status, a.body)
		}
	}
}

// TestReadersOfAListedStream grants and withdraws the right to read.
func TestReadersOfAListedStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"listed","publishers":["pat"]}`)
	if a := w.do("bob", http.MethodGet, s+"/events", ""); a.code(t) != "stream_not_found" {
		t.Errorf("before: %d %s", a.status, a.body)
	}
	if a := w.do("pat", http.MethodGet, s+"/events", ""); a.code(t) != "not_reader" {
		t.Errorf("a publisher: %d %s", a.status, a.body)
	}
	w.must(http.StatusNoContent, "alice", http.MethodPut, s+"/readers/bob", "")
	r := w.readStream("bob", s+"/events")
	w.pushText("pat", s, "x")
	r.wantFrames("x")
	w.must(http.StatusNoContent, "alice", http.MethodDelete, s+"/readers/bob", "")
	if f, ok := r.next(); ok {
		t.Errorf("the reader got %+v", f)
	}
	other := w.startStream("alice", `{"access":"anyone"}`)
	if a := w.do("alice", http.MethodPut, other+"/readers/bob", ""); a.code(t) != "readers_unsupported" {
		t.Errorf("a list of a stream for anyone: %d %s", a.status, a.body)
	}
}

// TestReadingWithATicket reads as an EventSource does.
func TestReadingWithATicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"anyone"}`)
	w.pushText("alice", s, "x")
	ticket := w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/events/tickets", "")["ticket"].(string)
	req, err := http.NewRequest(http.MethodGet, w.url+s+"/events?ticket="+ticket, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.follow(req).wantFrames("x")
	if a := w.do("", http.MethodPost, s+"/frames?ticket="+ticket, `{"text":"x"}`); a.status != http.StatusUnauthorized {
		t.Errorf("pushing with a ticket: %d %s", a.status, a.body)
	}
	if a := w.do("bob", http.MethodHead, s+"/events", ""); a.status != http.StatusOK || len(a.body) > 0 {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
}
