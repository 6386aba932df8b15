package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// populate fills a server with everything that an export has to contain.
func (w *world) populate() {
	w.t.Helper()
	send := func(user, conversation, body string) string {
		return w.must(http.StatusCreated, user, http.MethodPost, "/v1/conversations/"+conversation+"/messages", body)["id"].(string)
	}
	group := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations",
		`{"kind":"group","name":"<g> & \"ü\"","members":["bob","zoe"],"settings":{"history":"all","revoke_window_seconds":0,"revoke_others_window_seconds":60,"expire_after_seconds":3600,"retention_days":0,"announcement":"<hi> ü","avatar":"https://example.com/a?b&c","join":"open","invite":"members"}}`)["id"].(string)
	joined := w.group("bob", "alice", "carol")
	g := "/v1/conversations/" + joined

	first := send("alice", group, `{"client_id":"c-1","type":"text","body":{"text":"hi <b> & ü"},"ext":{"a":[1,2.50,null,"<"]},"mentions":["bob","zoe"],"receipt":true,"push":{"x":1}}`)
	room := w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations", `{"kind":"room","name":"r","settings":{"mute_all":true,"slow_mode_seconds":60}}`)["id"].(string)
	send("alice", room, `{"type":"text","body":{"text":"all"},"mention_all":true}`)
	send("bob", group, `{"type":"location","body":{"latitude":1.50,"longitude":-3e1,"address":""},"reply_to":"`+first+`"}`)
	send("bob", group, `{"type":"custom","body":{"name":"n","data":null},"expire_after_seconds":3600}`)
	revoked := send("bob", group, `{"client_id":"c-2","type":"text","body":{"text":"revoked"}}`)
	w.must(http.StatusOK, "bob", http.MethodPost, "/v1/messages/"+revoked+"/revoke", `{"postscript":"sorry <3","extension":{"why":["x"]}}`)
	w.must(http.StatusOK, "alice", http.MethodPost, "/v1/messages/"+send("alice", "@bob", `{"type":"text","body":{"text":"revoked, too"}}`)+"/revoke", "")

	// Carol is removed, misses a message, rejoins, and leaves for good; dave joins.
	send("alice", joined, `{"type":"text","body":{"text":"1"}}`)
	w.must(http.StatusNoContent, "bob", http.MethodDelete, g+"/members/carol", "")
	send("alice", joined, `{"type":"text","body":{"text":"2"}}`)
	w.must(http.StatusOK, "bob", http.MethodPost, g+"/members", `{"members":["carol","dave"],"role":"admin"}`)
	send("carol", joined, `{"type":"text","body":{"text":"3"}}`)
	w.must(http.StatusNoContent, "carol", http.MethodPost, g+"/leave", "")
	w.must(http.StatusOK, "bob", http.MethodPatch, g+"/members/alice", `{"role":"owner"}`)

	send("alice", "@bob", `{"type":"text","body":{"text":"burn me"},"burn":{"after_seconds":3600,"unread_ttl_seconds":4000}}`)
	read := send("alice", "@bob", `{"type":"text","body":{"text":"burning"},"burn":{"after_seconds":3600}}`)
	w.must(http.StatusOK, "bob", http.MethodPost, "/v1/conversations/@alice/receipts", `{"kind":"read","message_ids":["`+read+`"]}`)
	burned := send("alice", "@bob", `{"type":"text","body":{"text":"burned"},"burn":{"after_seconds":5}}`)
	w.must(http.StatusOK, "bob", http.MethodPost, "/v1/messages/"+burned+"/burn", "")
	for _, line := range []string{
		importable(`"conversation_id":"` + group + `","sender":"gone","visible_to":"bob","sender_device":"d","body":{"text":"notice"}`),
		importable(`"conversation_id":"` + group + `","body":null,"state":"expired","erased":{"at":"2025-01-03T00:00:00Z"},"receipt":true`),
		importable(`"sender":"eve","conversation_id":"@mallory"`),
	} {
		w.must(http.StatusCreated, "", http.MethodPost, "/v1/admin/import/message", line, "Authorization", adminOf(w.t))
	}
	w.group("emptied", "emptied")
	w.must(http.StatusNoContent, "emptied", http.MethodPost, "/v1/conversations/"+w.group("emptied", "emptied")+"/leave", "")
}

// TestExportRoundTrip checks that an export that is imported into an empty server is
// exported again as the same bytes, and that importing it again changes nothing.
func TestExportRoundTrip(t *testing.T) {
	from, to := newWorld(t), newWorld(t)
	from.populate()
	whole := from.export()
	lines := strings.Split(strings.TrimSpace(whole), "\n")
	for _, want := range []string{`"visible_to":"bob"`, `"postscript":"sorry <3"`, `"burn_at"`, `"state":"burned"`, `"role":null`, `"left":true`, `"to_seq"`, `"retention_days":0`, `"reply_to"`, `"mention_all":true`, `"mute_all":true`, `"slow_mode_seconds":60`, `"join":"open"`, `"invite":"members"`, `"announcement":"<hi> ü"`} {
		if !strings.Contains(whole, want) {
			t.Errorf("no %s in the export", want)
		}
	}
	for round, status := range []int{201, 200} {
		for _, r := range to.importLines(lines...) {
			if r.Status != status {
				t.Errorf("round %d: %+v: %s", round, r, lines[r.Line-1])
			}
		}
		if diff := cmp.Diff(whole, to.export()); diff != "" {
			t.Errorf("round %d: the second export differs (-first +second):\n%s", round, diff)
		}
	}

	// On both servers, a user who left is not added again.
	for i, w := range []*world{from, to} {
		joined := ""
		for _, c := range w.must(200, "bob", "GET", "/v1/conversations", "")["items"].([]any) {
			if c := c.(map[string]any); c["kind"] == "group" && c["role"] != "owner" && c["member_count"].(float64) == 3 && c["name"] == "g" {
				joined = c["id"].(string)
			}
		}
		if a := w.do("alice", "POST", "/v1/conversations/"+joined+"/members", `{"members":["carol"]}`); a.status != 409 || a.code(t) != "has_left" {
			t.Errorf("server %d: adding a user who left: %d %s", i, a.status, a.body)
		}
	}

	// The import publishes nothing and counts as read, and the conversation continues after it.
	if page := to.must(200, "bob", "GET", "/v1/events?limit=100", "", "Accept", "application/json"); len(page["items"].([]any)) != 0 {
		t.Errorf("published: %v", page)
	}
	if unread := to.must(200, "bob", "GET", "/v1/unread", "")["total"].(float64); unread != 0 {
		t.Errorf("unread %v", unread)
	}
	var seen [2][]any
	for i, w := range []*world{from, to} {
		for _, user := range []string{"alice", "bob", "carol", "dave", "zoe", "mallory"} {
			for _, c := range w.must(200, user, "GET", "/v1/conversations", "")["items"].([]any) {
				c := c.(map[string]any)
				page := w.must(200, user, "GET", "/v1/conversations/"+c["id"].(string)+"/messages", "")
				seen[i] = append(seen[i], user, c["role"], c["member_count"], page["items"])
				if w == to {
					w.must(201, user, "POST", "/v1/conversations/"+c["id"].(string)+"/messages", `{"type":"text","body":{"text":"and on"}}`)
				}
			}
			if w == to {
				break // the message would be visible to the others
			}
		}
	}
	if a, b := fmt.Sprint(seen[0][:4]), fmt.Sprint(seen[1][:4]); a != b {
		t.Errorf("alice saw\n%s\nand sees\n%s", a, b)
	}
}

// TestExportLeavesOutWhatIsPastRetention checks that messages past retention are not
// exported, that replies to them can still be imported, and that members who joined later see the
// following messages.
func TestExportLeavesOutWhatIsPastRetention(t *testing.T) {
	week := func(_ *handlers.Options, _ *events.Options, p *im.Policy) { p.Retention = 7 * 24 * time.Hour }
	from, to := newWorld(t), newWorld(t, week)
	group := from.group("alice", "bob")
	answered := from.importLines(importable(`"conversation_id":"` + group + `"`))[0].ID
	from.must(201, "alice", "POST", "/v1/conversations/"+group+"/messages", `{"type":"text","body":{"text":"new"},"reply_to":"`+answered+`"}`)
	from.importLines(importable(`"conversation_id":"`+group+`","client_id":"a"`), importable(`"conversation_id":"`+group+`","client_id":"b"`))
	from.must(200, "alice", "POST", "/v1/conversations/"+group+"/members", `{"members":["carol"]}`)
	from.must(200, "alice", "PATCH", "/v1/conversations/"+group, `{"settings":{"retention_days":7}}`)

	lines := strings.Split(strings.TrimSpace(from.export()), "\n")
	if len(lines) != 2 || strings.Contains(lines[1], answered) {
		t.Fatalf("exported:\n%s", strings.Join(lines, "\n"))
	}
	for _, r := range to.importLines(lines...) {
		if r.Status != 201 {
			t.Errorf("%+v", r)
		}
	}
	if diff := cmp.Diff(lines, strings.Split(strings.TrimSpace(to.export()), "\n")); diff != "" {
		t.Errorf("the second export differs (-first +second):\n%s", diff)
	}
	to.say("alice", group, "next")
	if page := to.must(200, "carol", "GET", "/v1/conversations/"+group+"/messages", ""); len(page["items"].([]any)) != 1 {
		t.Errorf("carol sees %v", page)
	}
}

// TestExportOfOneConversation checks that one conversation can be exported by itself, and that an
// unknown one is refused.
func TestExportOfOneConversation(t *testing.T) {
	w := newWorld(t)
	one, deleted := w.group("alice", "bob"), w.group("alice", "bob")
	w.say("alice", one, "hi")
	w.say("alice", deleted, "hi")
	w.must(204, "alice", "DELETE", "/v1/conversations/"+deleted+"?scope=everyone", "")
	a := w.do("", "GET", "/v1/admin/export?conversation_id="+one, "", "Authorization", adminOf(t))
	if n := strings.Count(string(a.body), "\n"); n != 2 || strings.Contains(string(a.body), deleted) {
		t.Errorf("%s", a.body)
	}
	if whole := w.export(); whole != string(a.body) {
		t.Errorf("the export is %s", whole)
	}
	for _, id := range []string{deleted, "0000000000001", "x"} {
		a := w.do("", "GET", "/v1/admin/export?conversation_id="+id, "", "Authorization", adminOf(t))
		if a.status != 404 || a.code(t) != "conversation_not_found" {
			t.Errorf("%s: %d %s", id, a.status, a.body)
		}
	}
}

// TestRetentionTrimsWhatTheDryRunShows checks that a run trims exactly what a dry run has
// shown, page by page.
func TestRetentionTrimsWhatTheDryRunShows(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 5 {
		id := w.group("alice", "bob")
		for j := range i {
			w.importLines(importable(fmt.Sprintf(`"conversation_id":%q,"client_id":"%d-%d"`, id, i, j)))
		}
		w.say("alice", id, "stays")
		w.must(200, "alice", "PATCH", "/v1/conversations/"+id, fmt.Sprintf(`{"settings":{"retention_days":%d}}`, 1+i%2))
		ids = append(ids, id)
	}
	admin := []string{"Authorization", adminOf(t)}
	planned := map[string]string{}
	path := "/v1/admin/retention?limit=1"
	for page := path; page != ""; {
		p := w.must(200, "", "GET", page, "", admin...)
		for _, item := range p["items"].([]any) {
			b, _ := json.Marshal(item)
			planned[item.(map[string]any)["conversation_id"].(string)] = string(b)
		}
		page = ""
		if next, more := p["next_page_token"].(string); more {
			page = path + "&page_token=" + next
		}
		if asOf := p["as_of"].(string); page == "" {
			path = "/v1/admin/retention?as_of=" + asOf
		}
	}
	if len(planned) != 4 {
		t.Fatalf("the dry run lists %d conversations: %v", len(planned), planned)
	}
	a := w.do("", "POST", path, "", admin...)
	done := 0
	for line := range strings.Lines(string(a.body)) {
		var v any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(v)
		if want := planned[v.(map[string]any)["conversation_id"].(string)]; string(b) != want {
			t.Errorf("trimmed %s, the dry run said %s", b, want)
		}
		done++
	}
	if done != 4 {
		t.Errorf("the run answered %d: %s", done, a.body)
	}
	for _, id := range ids {
		if page := w.must(200, "bob", "GET", "/v1/conversations/"+id+"/messages", ""); len(page["items"].([]any)) != 1 {
			t.Errorf("left: %v", page)
		}
	}
	if p := w.must(200, "", "GET", "/v1/admin/retention", "", admin...); len(p["items"].([]any)) != 0 {
		t.Errorf("left over: %v", p)
	}
	inherits := w.group("alice", "bob")
	w.importLines(importable(fmt.Sprintf(`"conversation_id":%q,"client_id":"inherits"`, inherits)))
	for retention, want := range map[string]int{"none": 0, "basic": 1, "30d": 1} {
		p := w.must(200, "", "GET", "/v1/admin/retention?retention="+retention, "", admin...)
		if items := p["items"].([]any); len(items) != want {
			t.Errorf("with --retention %s it would trim %v", retention, items)
		}
	}
	if p := w.do("", "GET", "/v1/admin/retention?retention=5x", "", admin...).json(t); p["code"] != "invalid_request" || p["field"] != "retention" {
		t.Errorf("retention=5x: %v", p)
	}
	for _, method := range []string{"GET", "POST"} {
		a := w.do("", method, "/v1/admin/retention?as_of=2525-01-02T03:04:05Z", "", admin...)
		if a.status != 400 || a.code(t) != "invalid_request" {
			t.Errorf("%s as of the future: %d %s", method, a.status, a.body)
		}
	}
}
