package handlers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

const sendAsPath = "/v1/admin/messages"

// sendAs sends as an admin and returns the results.
func (w *world) sendAs(as, message string, to ...string) (results []map[string]any) {
	w.t.Helper()
	targets, _ := json.Marshal(to)
	admin := mint(w.t, auth.Grant{User: "root", Admin: true}, time.Minute)
	a := w.do("", http.MethodPost, sendAsPath, fmt.Sprintf(`{"as":%q,"to":%s,"message":%s}`, as, targets, message), "Authorization", "Bearer "+admin)
	if a.status != http.StatusOK {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	for _, v := range a.json(w.t)["items"].([]any) {
		results = append(results, v.(map[string]any))
	}
	return results
}

// An admin's message arrives as a message of the user, even on that user's own devices, and each
// target has a result.
func TestSendAs(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	counted := make(map[string]int)
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.SentAs = func(result string) {
			mu.Lock()
			defer mu.Unlock()
			counted[result]++
		}
	})
	group := w.group("alice", "bob")
	live := map[string]*reader{"alice": w.listen("alice", nil, "X-Device-Id", "phone"), "bob": w.listen("bob", nil)}
	for _, r := range live {
		r.expect("ready")
	}
	const message = `{"client_id":"c-1","type":"text","body":{"text":"We are back."},"ext":{"n":1.50}}`
	to := []string{group, "@nobody here", "", group}
	first := w.sendAs("alice", message, to...)
	for user, r := range live {
		_, v := r.expect("message.created")
		m := v["message"].(map[string]any)
		if v["actor"] != "alice" || v["actor_device"] != nil || m["sender"] != "alice" || m["sender_device"] != nil || m["body"].(map[string]any)["text"] != "We are back." {
			t.Errorf("%s received %v", user, v)
		}
	}
	sent := first[0]["message"].(map[string]any)
	stored := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/messages/"+sent["id"].(string), "")
	want := make(map[string]any)
	for _, name := range []string{"id", "conversation_id", "seq", "client_id", "state", "created_at"} {
		want[name] = stored[name]
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("the result differs from the message (-message +result):\n%s", diff)
	}
	for i, status := range []float64{201, 201, 404, 201} {
		r := first[i]
		if r["to"] != to[i] || r["status"] != status || (r["problem"] != nil) == (r["message"] != nil) {
			t.Errorf("result %d: %v", i, r)
		}
	}
	if p := first[2]["problem"].(map[string]any); p["code"] != "conversation_not_found" || p["status"] != 404.0 {
		t.Errorf("problem %v", p)
	}
	// A repetition changes nothing but the status.
	for i, r := range w.sendAs("alice", message, to...) {
		if i != 2 {
			first[i] = maps.Clone(first[i])
			first[i]["status"] = 200.0
		}
		if diff := cmp.Diff(first[i], r); diff != "" {
			t.Errorf("repeated (-first +second):\n%s", diff)
		}
	}
	if n := len(w.must(http.StatusOK, "bob", http.MethodGet, "/v1/conversations/"+group+"/messages", "")["items"].([]any)); n != 1 {
		t.Errorf("%d messages", n)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(map[string]int{"sent": 3, "repeated": 3, "refused": 2}, counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestSendAsBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := mint(t, auth.Grant{User: "root", Admin: true}, time.Minute)
	const hi = `{"type":"text","body":{"text":"hi"}}`
	body := func(as, to, message string) string {
		return `{"as":` + as + `,"to":` + to + `,"message":` + message + `}`
	}
	many := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("@u%d", i)
		}
		text, _ := json.Marshal(list)
		return string(text)
	}
	for body, want := range map[string]string{
		body(`"alice"`, many(500), hi):                                                                 "200",
		body(`"alice"`, many(501), hi):                                                                 "400 invalid_request to",
		body(`"alice"`, `[]`, hi):                                                                      "400 invalid_request to",
		body(`"alice"`, `["@bob"]`, commandOf("typing", "")):                                           "422 command_unsupported message/type",
		body(`"alice"`, `["@bob"]`, `{"type":"text","body":{}}`):                                       "400 invalid_request message/body/text",
		body(`"alice"`, `["@bob"]`, `{"type":"text","body":{"text":"x"},"a":1}`):                       "400 invalid_request message/a",
		body(`""`, `["@bob"]`, hi):                                                                     "400 invalid_request as",
		body(`"alice"`, `["@bob"]`, `{"type":"text","body":{"text":"`+strings.Repeat("x", 6000)+`"}}`): "413 message_too_large message/body",
		`{"to":["@bob"],"message":` + hi + `}`:                                                         "400 invalid_request as",
	} {
		a := w.do("", http.MethodPost, sendAsPath, body, "Authorization", "Bearer "+admin)
		got := fmt.Sprint(a.status)
		if a.status >= http.StatusBadRequest {
			v := a.json(t)
			got = strings.TrimSpace(fmt.Sprintf("%d %v %v", a.status, v["code"], v["field"]))
		}
		if got != want {
			t.Errorf("%.80s: %s, want %s", body, got, want)
		}
	}
	// A user who is not an admin gets the same refusal for every message.
	for _, message := range []string{hi, commandOf("typing", "")} {
		if a := w.do("alice", http.MethodPost, sendAsPath, body(`"alice"`, `["@bob"]`, message)); a.status != http.StatusForbidden || a.code(t) != "admin_required" {
			t.Errorf("a user: %d %s", a.status, a.body)
		}
	}
}
