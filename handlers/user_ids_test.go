package handlers_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// importedDirect returns a line of an import with a direct conversation.
func importedDirect(to, sender string) string {
	return `{"conversation_id":"@` + to + `","sender":"` + sender + `","type":"text","body":{"text":"old"},"created_at":"2026-01-02T03:04:05Z"}`
}

// A malformed user id is refused, with its field, wherever a user id is accepted, and changes
// nothing.
func TestMalformedUserIDsAreRefused(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	space, _ := w.newSpace("alice")
	for name, id := range map[string]string{
		"a dot": ".", "two dots": "..", "decomposed": "Zoe\u0308", "invisible": "a\u200bb",
		"turned around": "a\u202eb", "too long": strings.Repeat("王", 43), "a control": "a\u0085",
	} {
		quoted := `"` + id + `"`
		escaped := url.PathEscape(id)
		if id == "." || id == ".." { // as a simple client would write it
			escaped = strings.ReplaceAll(id, ".", "%2E")
		}
		for _, c := range []struct{ method, path, body, field string }{
			{"PUT", "/v1/blocks/" + escaped, "", "user"},
			{"DELETE", "/v1/blocks/" + escaped, "", "user"},
			{"GET", "/v1/conversations/" + group + "/members/" + escaped, "", "user"},
			{"DELETE", "/v1/conversations/" + group + "/members/" + escaped, "", "user"},
			{"PUT", "/v1/conversations/" + group + "/lists/deny/" + escaped, "", "user"},
			{"PUT", "/v1/spaces/" + space + "/lists/deny/" + escaped, "", "user"},
			{"GET", "/v1/conversations/" + group + "/messages?sender=" + url.QueryEscape(id), "", "sender"},
			{"POST", "/v1/conversations", `{"kind":"group","members":[` + quoted + `]}`, "members/0"},
			{"POST", "/v1/conversations/" + group + "/members", `{"members":["carol",` + quoted + `]}`, "members/1"},
			{"POST", "/v1/conversations/" + group + "/messages", `{"type":"text","body":{"text":"x"},"mentions":[` + quoted + `]}`, "mentions/0"},
		} {
			a := w.do("alice", c.method, c.path, c.body)
			if a.status != http.StatusBadRequest || a.code(t) != "invalid_request" || a.json(t)["field"] != c.field {
				t.Errorf("%s: %s %s: %d %s, want %s named", name, c.method, c.path, a.status, a.body, c.field)
			}
		}
		a := w.do("alice", "POST", "/v1/conversations/@"+escaped+"/messages", `{"type":"text","body":{"text":"x"}}`)
		if a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
			t.Errorf("%s: sending there: %d %s", name, a.status, a.body)
		}
		if got := w.importLines(importedDirect("bob", id))[0]; got.Code != "invalid_request" || got.Field != "sender" {
			t.Errorf("%s: imported: %+v", name, got)
		}
	}
	if got := w.must(http.StatusOK, "alice", "GET", "/v1/blocks", "")["items"].([]any); len(got) != 0 {
		t.Errorf("blocked %v", got)
	}
}

// Users with ids beyond ASCII can do everything that others can, and their ids look the same
// everywhere.
func TestUsersBeyondASCII(t *testing.T) {
	w := newWorld(t)
	const lei, zoe = "李雷", "Zoë 😀"
	path := url.PathEscape
	stream := w.listen(zoe, nil)
	stream.expect("ready")
	direct := w.say(lei, "@"+path(zoe), "你好")
	stream.expect("conversation.created")
	if _, e := stream.event(); e["sender"] != lei || e["actor"] != lei || e["message"].(map[string]any)["sender"] != lei {
		t.Errorf("published %v", e)
	}
	if got := w.must(http.StatusOK, zoe, "GET", "/v1/conversations/@"+path(lei), ""); got["peer"] != lei || got["id"] != direct["conversation_id"] {
		t.Errorf("the direct conversation is %v", got)
	}

	group := w.group(lei, zoe, "王", "bob")
	var members []string
	for token := ""; ; {
		page := w.must(http.StatusOK, zoe, "GET", "/v1/conversations/"+group+"/members?limit=1"+token, "")
		for _, m := range page["items"].([]any) {
			members = append(members, m.(map[string]any)["user"].(string))
		}
		next, more := page["next_page_token"].(string)
		if !more {
			break
		}
		token = "&page_token=" + url.QueryEscape(next)
	}
	slices.Sort(members)
	if want := []string{zoe, "bob", lei, "王"}; !slices.Equal(members, want) {
		t.Errorf("members %q, want %q", members, want)
	}
	m := w.must(http.StatusCreated, lei, "POST", "/v1/conversations/"+group+"/messages",
		`{"type":"text","body":{"text":"x"},"mentions":["`+zoe+`","王"],"receipt":true}`)
	if got := m["mentions"].([]any); len(got) != 2 || got[0] != zoe || got[1] != "王" {
		t.Errorf("mentions %v", got)
	}
	w.must(http.StatusOK, "王", "POST", "/v1/conversations/"+group+"/receipts", `{"kind":"read","message_ids":["`+m["id"].(string)+`"]}`)
	if got := w.do(lei, "GET", "/v1/messages/"+m["id"].(string)+"/receipts", ""); !strings.Contains(string(got.body), `"user":"王"`) {
		t.Errorf("receipts %s", got.body)
	}
	if got := w.must(http.StatusOK, zoe, "GET", "/v1/conversations/"+group+"/messages?sender="+url.QueryEscape(lei), "")["items"].([]any); len(got) != 1 {
		t.Errorf("%d messages of %s", len(got), lei)
	}
	w.must(http.StatusOK, lei, "PATCH", "/v1/conversations/"+group+"/members/"+path(zoe), `{"role":"admin"}`)
	w.must(http.StatusNoContent, zoe, "DELETE", "/v1/conversations/"+group+"/members/"+path("王"), "")
	w.must(http.StatusNoContent, lei, "PUT", "/v1/blocks/"+path(zoe), "")
	if a := w.do(zoe, "POST", "/v1/conversations/@"+path(lei)+"/messages", `{"type":"text","body":{"text":"x"}}`); a.code(t) != "blocked" {
		t.Errorf("sending after the block: %d %s", a.status, a.body)
	}

	if got := w.importLines(importedDirect(zoe, "王"))[0]; got.Status != http.StatusCreated {
		t.Errorf("import: %+v", got)
	}
	if got := w.must(http.StatusOK, zoe, "GET", "/v1/conversations/@"+path("王")+"/messages", "")["items"].([]any); len(got) != 1 {
		t.Errorf("%d imported messages", len(got))
	}
	export := w.export()
	for _, want := range []string{`"sender":"王"`, `"sender":"` + lei + `"`, zoe} {
		if !strings.Contains(export, want) {
			t.Errorf("the export lacks %s: %s", want, export)
		}
	}
}
