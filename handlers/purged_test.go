package handlers_test

import (
	"net/http"
	"testing"
)

// TestPurgedMessagesStayPurged checks that after a conversation was deleted, a retry, an insertion
// and an import of its messages get 410 and create no conversation.
func TestPurgedMessagesStayPurged(t *testing.T) {
	for name, purge := range map[string]bool{"deleted": false, "purged": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			retry := `{"client_id":"x","type":"text","body":{"text":"secret"}}`
			insert := importable(`"client_id":"i"`)
			lines := []string{importable(`"client_id":"l"`), importable(`"body":{"text":"ho"}`)}
			w.must(http.StatusCreated, "alice", http.MethodPost, "/v1/conversations/@bob/messages", retry)
			w.must(http.StatusCreated, "", http.MethodPost, "/v1/admin/import/message", insert, "Authorization", adminOf(t))
			for _, r := range w.importLines(lines...) {
				if r.Status != http.StatusCreated {
					t.Fatalf("%+v", r)
				}
			}
			w.must(http.StatusNoContent, "bob", http.MethodDelete, "/v1/conversations/@alice?scope=everyone", "")
			if purge {
				if err := w.service.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			gone := func(user, path, body string, header ...string) {
				t.Helper()
				p := w.must(http.StatusGone, user, http.MethodPost, path, body, header...)
				if p["code"] != "message_gone" || p["field"] != "client_id" {
					t.Errorf("%s: %v", path, p)
				}
			}
			gone("alice", "/v1/conversations/@bob/messages", retry)
			gone("alice", "/v1/conversations/@carol/messages", retry)
			gone("", "/v1/admin/import/message", insert, "Authorization", adminOf(t))
			for i, field := range []string{"client_id", "created_at"} {
				if r := w.importLines(lines[i])[0]; r.Status != http.StatusGone || r.Code != "message_gone" || r.Field != field {
					t.Errorf("%s: %+v", lines[i], r)
				}
			}
			if a := w.do("alice", http.MethodGet, "/v1/conversations/@bob", ""); a.status != http.StatusNotFound {
				t.Errorf("a conversation came back: %d %s", a.status, a.body)
			}
		})
	}
}
