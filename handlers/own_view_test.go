package handlers_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
)

// pick returns members of an object as text.
func pick(v map[string]any, names ...string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = fmt.Sprint(v[name])
	}
	return strings.Join(out, " ")
}

func items(v map[string]any) []map[string]any {
	var out []map[string]any
	for _, item := range v["items"].([]any) {
		out = append(out, item.(map[string]any))
	}
	return out
}

func (w *world) same(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

// TestOwnViewOverHTTP uses the list of conversations as a client does.
func TestOwnViewOverHTTP(t *testing.T) {
	w := newWorld(t)
	quiet := w.group("alice", "bob")
	busy := w.group("alice", "bob")
	get := func(path string) map[string]any { return w.must(http.StatusOK, "bob", "GET", path, "") }
	post := func(status int, path, body string) map[string]any {
		return w.must(status, "bob", "POST", path, body)
	}
	w.must(http.StatusCreated, "alice", "POST", "/v1/conversations/"+busy+"/messages", `{"type":"text","body":{"text":"look, @bob"},"mentions":["bob"]}`)
	last := w.say("alice", busy, "我家在上海东边")

	list := items(get("/v1/conversations"))
	w.same("first", pick(list[0], "id", "unread", "unread_more", "unread_mentions", "pinned", "muted", "hidden"), busy+" 2 false 1 false false false")
	w.same("second", pick(list[1], "id", "unread", "last_message"), quiet+" 0 <nil>")
	w.same("preview", pick(list[0]["last_message"].(map[string]any), "id"), last["id"].(string))

	all := get("/v1/unread")
	w.same("all unread", pick(all, "total", "total_more", "mentions"), "2 false 1")
	w.same("its items", pick(items(all)[0], "conversation_id", "unread", "unread_mentions"), busy+" 2 1")
	w.same("of one", pick(get("/v1/unread?conversation_id="+quiet), "total"), "0")

	found := items(get("/v1/messages/search?q=" + url.QueryEscape("上海")))
	if len(found) != 1 {
		t.Fatalf("found %v", found)
	}
	w.same("found", fmt.Sprint(found[0]["id"], found[0]["snippet"]),
		fmt.Sprint(last["id"], "[map[match:false text:我家在] map[match:true text:上海] map[match:false text:东边]]"))
	w.same("elsewhere", fmt.Sprint(len(items(get("/v1/messages/search?conversation_id="+quiet+"&q=look")))), "0")
	w.same("without words", fmt.Sprint(len(items(get("/v1/messages/search?q=%22%2A+OR+%22")))), "0")

	w.same("cleared", pick(post(http.StatusOK, "/v1/conversations/"+busy+"/unread/clear", ""), "conversation_id", "unread", "unread_mentions"), busy+" 0 0")
	w.same("all cleared", pick(post(http.StatusOK, "/v1/unread/clear", ""), "total", "mentions"), "0 0")

	post(http.StatusNoContent, "/v1/conversations/"+busy+"/hide", `{"message_ids":["`+last["id"].(string)+`"]}`)
	w.must(http.StatusNotFound, "bob", "GET", "/v1/messages/"+last["id"].(string), "")
	w.must(http.StatusOK, "alice", "GET", "/v1/messages/"+last["id"].(string), "")
	erased := get("/v1/messages/erased")
	w.same("hidden", fmt.Sprint(len(erased["hidden"].([]any)), pick(erased["hidden"].([]any)[0].(map[string]any), "conversation_id", "from_seq", "to_seq")), "1"+busy+" 2 2")

	w.must(http.StatusNoContent, "bob", "DELETE", "/v1/conversations/"+busy, "")
	w.same("listed", fmt.Sprint(len(items(get("/v1/conversations")))), "1")
	w.same("changed", fmt.Sprint(len(items(get("/v1/conversations?updated_since=2026-01-02T03:04:05Z")))), "2")
	w.say("alice", busy, "again")
	back := items(get("/v1/conversations"))[0]
	w.same("back", pick(back, "id", "unread"), busy+" 1")
	w.same("history", fmt.Sprint(len(items(get("/v1/conversations/"+busy+"/messages")))), "1")

	set := w.must(http.StatusOK, "bob", "PATCH", "/v1/conversations/"+busy, `{"pinned":true,"muted":true}`)
	w.same("set", pick(set, "pinned", "muted"), "true true")
	w.same("pinned", fmt.Sprint(len(items(get("/v1/conversations?pinned=true")))), "1")
	w.same("not pinned", fmt.Sprint(len(items(get("/v1/conversations?pinned=false")))), "1")
	w.must(http.StatusForbidden, "bob", "DELETE", "/v1/conversations/"+busy+"?scope=everyone", "")
	w.must(http.StatusNoContent, "alice", "DELETE", "/v1/conversations/"+busy+"?scope=everyone", "")
	w.must(http.StatusNotFound, "bob", "GET", "/v1/conversations/"+busy, "")
	gone := get("/v1/messages/erased")["conversations"].([]any)
	w.same("gone", pick(gone[0].(map[string]any), "conversation_id", "state"), busy+" deleted")
}

func TestRetentionOfAConversationOverHTTP(t *testing.T) {
	w := newWorld(t)
	g := "/v1/conversations/" + w.group("alice", "bob")
	days := func(status int, user, value string) any {
		t.Helper()
		v := w.must(status, user, "PATCH", g, `{"settings":{"retention_days":`+value+`}}`)
		if status != http.StatusOK {
			return v["code"]
		}
		return v["settings"].(map[string]any)["retention_days"]
	}
	w.same("set", fmt.Sprint(days(200, "alice", "7")), "7")
	w.same("for ever", fmt.Sprint(days(200, "alice", "0")), "0")
	w.same("the server's", fmt.Sprint(days(200, "alice", "null")), "<nil>")
	w.same("by a member", fmt.Sprint(days(403, "bob", "7")), "permission_denied")
	for _, bad := range []string{"-1", "1.5", `"7"`, "36501", "[]"} {
		w.same(bad, fmt.Sprint(days(400, "alice", bad)), "invalid_request")
	}
}

func TestHistoryAroundOverHTTP(t *testing.T) {
	w := newWorld(t)
	id := w.group("alice", "bob")
	var ids []string
	for i := range 7 {
		ids = append(ids, w.say("alice", id, fmt.Sprint(i))["id"].(string))
	}
	path := "/v1/conversations/" + id + "/messages?limit=3&around=" + ids[3]
	page := w.must(http.StatusOK, "alice", "GET", path, "")
	seqs := ""
	for {
		for _, m := range items(page) {
			seqs += fmt.Sprint(m["seq"], " ")
		}
		next, more := page["next_page_token"].(string)
		if !more {
			break
		}
		page = w.must(http.StatusOK, "alice", "GET", path+"&page_token="+next, "")
	}
	w.same("seqs", seqs, "5 4 3 2 1 ")
}

func TestBadInputOfOwnViews(t *testing.T) {
	w := newWorld(t)
	id := w.group("alice", "bob")
	g := "/v1/conversations/" + id
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code, field        string
	}{
		"hide without a choice":                 {"POST", g + "/hide", `{}`, 400, "invalid_request", "body"},
		"hide with two choices":                 {"POST", g + "/hide", `{"all":true,"before":"2026-01-02T03:04:05Z"}`, 400, "invalid_request", "body"},
		"hide with all false":                   {"POST", g + "/hide", `{"all":false}`, 400, "invalid_request", "all"},
		"hide an empty list of ids":             {"POST", g + "/hide", `{"message_ids":[]}`, 400, "invalid_request", "message_ids"},
		"hide before a malformed time":          {"POST", g + "/hide", `{"before":"yesterday"}`, 400, "invalid_request", "before"},
		"hide an unknown message":               {"POST", g + "/hide", `{"message_ids":["x"]}`, 404, "message_not_found", "message_ids/0"},
		"hide in an unknown conversation":       {"POST", "/v1/conversations/@nobody/hide", `{"all":true}`, 404, "conversation_not_found", ""},
		"search without q":                      {"GET", "/v1/messages/search", "", 400, "invalid_request", "q"},
		"search with a q too long":              {"GET", "/v1/messages/search?q=" + strings.Repeat("x", 257), "", 400, "invalid_request", "q"},
		"search in an unknown conversation":     {"GET", "/v1/messages/search?q=x&conversation_id=0000000000001", "", 404, "conversation_not_found", ""},
		"search in a conversation with oneself": {"GET", "/v1/messages/search?q=x&conversation_id=@alice", "", 422, "direct_with_self", "conversation"},
		"malformed page token":                  {"GET", "/v1/messages/search?q=x&page_token=abc", "", 400, "invalid_page_token", "page_token"},
		"around with before_seq":                {"GET", g + "/messages?around=x&before_seq=3", "", 400, "invalid_request", "around"},
		"around an unknown message":             {"GET", g + "/messages?around=x", "", 404, "message_not_found", "around"},
		"include_erased is not a boolean":       {"GET", g + "/messages?include_erased=maybe", "", 400, "invalid_request", "include_erased"},
		"unread of an unknown conversation":     {"GET", "/v1/unread?conversation_id=x", "", 404, "conversation_not_found", ""},
		"kind that is not in the list":          {"GET", "/v1/conversations?kind=channel", "", 400, "invalid_request", "kind"},
		"malformed updated_since":               {"GET", "/v1/conversations?updated_since=now", "", 400, "invalid_request", "updated_since"},
		"unknown scope of a deletion":           {"DELETE", g + "?scope=some", "", 400, "invalid_request", "scope"},
		"pinned is null":                        {"PATCH", g, `{"pinned":null}`, 400, "invalid_request", "pinned"},
		"a list of overdue messages by a user":  {"GET", "/v1/admin/retention", "", 403, "admin_required", ""},
		"an export by a user":                   {"GET", "/v1/admin/export", "", 403, "admin_required", ""},
		"an insert by a user":                   {"POST", "/v1/admin/import/message", `{"conversation_id":"@bob","sender":"x","type":"text","body":{"text":"x"}}`, 403, "admin_required", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.in(t).do("alice", c.method, c.path, c.body)
			if a.status != c.status {
				t.Fatalf("status %d, want %d: %s", a.status, c.status, a.body)
			}
			v := a.json(t)
			field, _ := v["field"].(string)
			if v["code"] != c.code || field != c.field {
				t.Errorf("%s, want code %s, field %q", a.body, c.code, c.field)
			}
		})
	}
}

// TestPageTokensAreSealed: the position in a search may reveal a message that the user must not
// know of.
func TestPageTokensAreSealed(t *testing.T) {
	w := newWorld(t)
	own := w.group("mallory", "eve")
	w.say("mallory", own, "merger")
	secret := w.say("alice", "@bob", "the merger is on")
	w.say("mallory", own, "merger")
	path := "/v1/messages/search?limit=1&q=merger"
	first := w.must(http.StatusOK, "mallory", "GET", path, "")
	token := first["next_page_token"].(string)
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := im.ParseID(secret["id"].(string))
	if bytes.Contains(b, []byte(fmt.Sprint(int64(id)))) || bytes.Contains(b, []byte("{\"l\"")) {
		t.Errorf("the token contains %q", b)
	}
	again := w.must(http.StatusOK, "mallory", "GET", path, "")["next_page_token"]
	w.same("the same position", fmt.Sprint(again), token)
	second := w.must(http.StatusOK, "mallory", "GET", path+"&page_token="+token, "")
	w.same("the other", fmt.Sprint(len(items(second)), items(second)[0]["conversation_id"]), "1"+own)
}
