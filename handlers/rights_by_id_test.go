package handlers_test

import (
	"net/http"
	"testing"
)

// TestRightsByID checks the rule of docs/security.md: knowing the id of a room, or of an open group
// or space, allows joining it. Knowing any other id gives a user who is not a member no access,
// even that of a thread or channel in an open group or space.
func TestRightsByID(t *testing.T) {
	w := newWorld(t)
	direct := w.say("alice", "@bob", "between us")
	group := w.group("alice", "bob")
	message := w.say("alice", group, "the root")
	thread := w.newThread("alice", message["id"].(string))
	said := w.say("alice", thread, "in the thread")
	space, channel := w.newSpace("alice", "bob")
	announced := w.say("alice", channel, "in the channel")
	under := w.newThread("alice", announced["id"].(string))
	role := w.newRole("alice", space, `{"send":"allow"}`)
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r"}`)["id"].(string)

	join := func(user, id string) int {
		return w.do(user, http.MethodPost, "/v1/conversations/"+id+"/join", "").status
	}
	closed := func(t *testing.T, who string) {
		t.Helper()
		w := w.in(t)
		for _, id := range []string{direct["conversation_id"].(string), group, thread, channel, under, space} {
			for _, ask := range []struct{ method, path, body string }{
				{http.MethodGet, "", ""},
				{http.MethodGet, "/messages", ""},
				{http.MethodGet, "/members", ""},
				{http.MethodGet, "/permissions", ""},
				{http.MethodPost, "/join", ""},
				{http.MethodPost, "/messages", `{"type":"text","body":{"text":"hi"}}`},
			} {
				if a := w.do(who, ask.method, "/v1/conversations/"+id+ask.path, ask.body); a.status != http.StatusNotFound {
					t.Errorf("%s %s%s: %d", ask.method, id, ask.path, a.status)
				}
			}
		}
		for _, m := range []map[string]any{direct, message, said, announced} {
			for _, path := range []string{"", "/thread", "/receipts"} {
				if a := w.do(who, http.MethodGet, "/v1/messages/"+m["id"].(string)+path, ""); a.status != http.StatusNotFound {
					t.Errorf("GET message%s: %d", path, a.status)
				}
			}
		}
		for _, path := range []string{"", "/roles", "/roles/" + role, "/channels", "/members", "/join"} {
			method := http.MethodGet
			switch path {
			case "/join":
				method = http.MethodPost
			case "/roles/" + role:
				method = http.MethodDelete
			}
			if a := w.do(who, method, "/v1/spaces/"+space+path, ""); a.status != http.StatusNotFound {
				t.Errorf("%s space%s: %d", method, path, a.status)
			}
		}
	}
	t.Run("while nothing is open", func(t *testing.T) { closed(t, "mallory") })

	w.must(http.StatusOK, "alice", http.MethodPatch, "/v1/conversations/"+group, `{"settings":{"join":"open"}}`)
	w.must(http.StatusOK, "alice", http.MethodPatch, "/v1/spaces/"+space, `{"settings":{"join":"open"}}`)
	t.Run("once the group and the space are open", func(t *testing.T) {
		w := w.in(t)
		for _, id := range []string{thread, channel, under, direct["conversation_id"].(string)} {
			if got := join("mallory", id); got != http.StatusNotFound {
				t.Errorf("joining by the id of a thread or channel in an open group or space: %d", got)
			}
		}
		if a := w.do("mallory", http.MethodGet, "/v1/conversations/"+group, ""); a.status != http.StatusNotFound {
			t.Errorf("reading an open group before joining it: %d", a.status)
		}
		for _, id := range []string{group, room} {
			if got := join("mallory", id); got != http.StatusOK {
				t.Errorf("joining by the id of an open group or space: %d", got)
			}
		}
		w.must(http.StatusOK, "mallory", http.MethodPost, "/v1/spaces/"+space+"/join", "")
	})
}
