package handlers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestRevokeIsDeliveredOnceAndNotToTheActingDevice checks what every user receives of a revoke.
func TestRevokeIsDeliveredOnceAndNotToTheActingDevice(t *testing.T) {
	for name, extension := range map[string]string{"object": `{"why":["typo"]}`, "text": `"typo"`, "number": `7`, "list": `[null]`} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			streams := map[string]*reader{
				"bob": w.listen("bob", nil), "tablet": w.listen("alice", nil, "X-Device-Id", "tablet"), "phone": w.listen("alice", nil, "X-Device-Id", "phone"),
			}
			for _, s := range streams {
				s.expect("ready")
			}
			m := w.must(http.StatusCreated, "alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"secret"},"mentions":["bob"]}`, "X-Device-Id", "phone")
			path := "/v1/messages/" + m["id"].(string)
			note := `{"postscript":"sorry","extension":` + extension + `,"push_content":"taken back","push_payload":{"badge":1}}`
			for range 2 {
				got := w.must(http.StatusOK, "alice", http.MethodPost, path+"/revoke", note, "X-Device-Id", "phone")
				if got["state"] != "revoked" || got["body"] != nil || got["ext"] != nil || got["mentions"] != nil {
					t.Errorf("answered %v", got)
				}
			}
			w.say("bob", "@alice", "the end")
			for name, s := range streams {
				if name == "phone" {
					if _, v := s.expect("message.created"); v["sender"] != "bob" {
						t.Errorf("the acting device received its own event: %v", v)
					}
					continue
				}
				s.expect("conversation.created")
				s.expect("message.created")
				f, v := s.expect("message.revoked")
				erased := v["message"].(map[string]any)["erased"].(map[string]any)
				kept, err := json.Marshal(erased["extension"])
				if err != nil {
					t.Fatal(err)
				}
				if erased["by"] != "alice" || erased["postscript"] != "sorry" || string(kept) != extension ||
					v["push_content"] != "taken back" || v["sender"] != "alice" || v["mentions"].([]any)[0] != "bob" {
					t.Errorf("%s received %v", name, v)
				}
				if strings.Contains(f.data, "secret") {
					t.Errorf("%s received the content: %s", name, f.data)
				}
				if name == "tablet" {
					s.expect("message.created")
				}
			}
			late := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/events", "", "Accept", "application/json")
			text, err := json.Marshal(late)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "taken back") || strings.Contains(string(text), "secret") {
				t.Errorf("kept in the log: %s", text)
			}
		})
	}
}

func TestRevokeRefusesBadInput(t *testing.T) {
	w := newWorld(t)
	m := w.say("alice", "@bob", "x")
	path := "/v1/messages/" + m["id"].(string)
	for _, c := range []struct {
		path, body  string
		status      int
		code, field string
	}{
		{path + "/revoke", `{"postscripts":"x"}`, 400, "invalid_request", "postscripts"},
		{path + "/revoke", `{"extension":null}`, 400, "invalid_request", "extension"},
		{path + "/revoke", `{"postscript":"` + strings.Repeat("x", 1025) + `"}`, 400, "invalid_request", "postscript"},
		{path + "/revoke", `{"extension":"` + strings.Repeat("x", 5000) + `"}`, 413, "message_too_large", "extension"},
		{path + "/revoke", `null`, 400, "invalid_request", "body"},
		{path + "/revoke", `{`, 400, "malformed_json", ""},
		{"/v1/messages/revoke", `{"ids":[]}`, 400, "invalid_request", "ids"},
		{"/v1/messages/revoke", `{"ids":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 101), ",") + `]}`, 400, "invalid_request", "ids"},
		{"/v1/messages/revoke", `{"ids":[7]}`, 400, "invalid_request", "ids/0"},
		{"/v1/conversations/@alice/receipts", `{"kind":"read"}`, 400, "invalid_request", "body"},
		{"/v1/conversations/@alice/receipts", `{"kind":"seen","up_to":"x"}`, 400, "invalid_request", "kind"},
		{"/v1/conversations/@alice/receipts", `{"kind":"read","up_to":"x","message_ids":["y"]}`, 400, "invalid_request", "body"},
		{"/v1/conversations/@alice/receipts", `{"up_to":"x","message_ids":["y"]}`, 400, "invalid_request", "kind"},
		{"/v1/conversations/@alice/receipts", `{"kind":"read","up_to":"x"}`, 404, "message_not_found", "up_to"},
		{"/v1/conversations/@alice/receipts", `{"kind":"read","message_ids":["x"]}`, 404, "message_not_found", "message_ids/0"},
		{"/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"x"},"burn":{}}`, 400, "invalid_request", "burn/after_seconds"},
		{"/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"x"},"burn":{"after_seconds":604801}}`, 400, "invalid_request", "burn/after_seconds"},
		{"/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"x"},"burn":{"after_seconds":1,"unread_ttl_seconds":0}}`, 400, "invalid_request", "burn/unread_ttl_seconds"},
		{"/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"x"},"expire_after_seconds":0}`, 400, "invalid_request", "expire_after_seconds"},
	} {
		a := w.do("bob", http.MethodPost, c.path, c.body)
		p := a.json(t)
		field, _ := p["field"].(string)
		if a.status != c.status || p["code"] != c.code || field != c.field {
			t.Errorf("%s %.60s: got %d %v %q, want %d %s %q", c.path, c.body, a.status, p["code"], field, c.status, c.code, c.field)
		}
	}
	if got := w.must(http.StatusOK, "bob", http.MethodGet, path, ""); got["state"] != "active" {
		t.Errorf("bad input changed the message: %v", got)
	}
}
