package handlers_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzPageToken checks that a page token either comes from the list or is a 400.
func FuzzPageToken(f *testing.F) {
	w := newWorld(f)
	g := w.group("alice", "bob", "carol")
	path := "/v1/conversations/" + g + "/members?limit=1&page_token="
	good := w.must(http.StatusOK, "alice", http.MethodGet, strings.TrimSuffix(path, "&page_token="), "")["next_page_token"].(string)
	f.Add(good)
	f.Add("")
	f.Add("eyJsIjoxfQ")
	f.Fuzz(func(t *testing.T, token string) {
		a := w.in(t).do("alice", http.MethodGet, path+url.QueryEscape(token), "")
		if a.status != http.StatusBadRequest && (a.status != http.StatusOK || token != good) {
			t.Errorf("%q: %d %s", token, a.status, a.body)
		}
	})
}

// FuzzCursor checks that a cursor either comes from the log or is a 400.
func FuzzCursor(f *testing.F) {
	w := newWorld(f)
	w.say("alice", "@bob", "x")
	page := w.must(http.StatusOK, "alice", http.MethodGet, "/v1/events?limit=1", "", "Accept", "application/json")
	good := page["cursor"].(string)
	f.Add(good)
	f.Add("AAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		a := w.in(t).do("alice", http.MethodGet, "/v1/events?cursor="+url.QueryEscape(cursor), "", "Accept", "application/json")
		switch {
		case a.status == http.StatusBadRequest:
		case a.status == http.StatusOK && cursor == good:
		case a.status == http.StatusOK && strings.Contains(string(a.body), `"reset"`):
		default:
			t.Errorf("%q: %d %s", cursor, a.status, a.body)
		}
	})
}

// FuzzSend checks that any body is stored as sent or refused, and never causes a server
// error.
func FuzzSend(f *testing.F) {
	w := newWorld(f)
	for _, body := range []string{
		`{"type":"text","body":{"text":"hi"}}`,
		`{"type":"text","body":{"text":"\u0000\r\n\u2028\ud800"},"ext":{"a":1e999}}`,
		`{"type":"custom","body":{"name":"x","data":[[[{}]]]},"mentions":["a"],"client_id":"c"}`,
		`{"type":"location","body":{"latitude":-90,"longitude":1E2}}`,
		`{"type":"text","type":"custom","body":{"name":"x"},"body":{"text":"y"}}`,
		`null`, `{}`, `[`, "\xff",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a := w.in(t).do("alice", http.MethodPost, toBob, body, "Content-Type", "application/json")
		if a.status >= http.StatusInternalServerError {
			t.Fatalf("%q: %d %s", body, a.status, a.body)
		}
		if a.status != http.StatusCreated {
			return
		}
		sent := a.json(t)
		kept := w.in(t).do("bob", http.MethodGet, "/v1/messages/"+sent["id"].(string), "")
		if string(kept.body) != string(a.body) {
			t.Errorf("%q: answered %s, kept %s", body, a.body, kept.body)
		}
	})
}
