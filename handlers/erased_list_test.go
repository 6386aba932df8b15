package handlers_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// erasedSince returns the ids on all pages of messages erased since a time, and the as_of
// of the list.
func (w *world) erasedSince(user, since string) (ids []string, asOf string) {
	w.t.Helper()
	query := "limit=2"
	if since != "" {
		query += "&since=" + url.QueryEscape(since)
	}
	for token := ""; ; {
		page := w.must(http.StatusOK, user, "GET", "/v1/messages/erased?"+query+token, "")
		for _, m := range page["items"].([]any) {
			ids = append(ids, m.(map[string]any)["id"].(string))
		}
		if asOf != "" && page["as_of"] != asOf {
			w.t.Errorf("a later page is as of %v, the first as of %s", page["as_of"], asOf)
		}
		asOf = page["as_of"].(string)
		next, more := page["next_page_token"].(string)
		if !more {
			return ids, asOf
		}
		token = "&page_token=" + url.QueryEscape(next)
	}
}

// A client that passes the as_of of each list to the next one receives every erasure once,
// without a clock of its own, however fast one erasure follows another.
func TestErasedContinuesFromAsOf(t *testing.T) {
	w := newWorld(t)
	var listed, revoked []string
	_, asOf := w.erasedSince("bob", "")
	for round := range 20 {
		for n := range round % 4 {
			id := w.say("alice", "@bob", fmt.Sprint(round, n))["id"].(string)
			w.must(http.StatusOK, "alice", "POST", "/v1/messages/"+id+"/revoke", "")
			revoked = append(revoked, id)
		}
		var ids []string
		ids, asOf = w.erasedSince("bob", asOf)
		listed = append(listed, ids...)
	}
	if !slices.Equal(listed, revoked) {
		t.Errorf("listed %v, revoked %v", listed, revoked)
	}
}

// A user who was away from a group while messages were erased there gets them after
// rejoining, however long ago that was.
func TestErasedWhileAwayFromAGroup(t *testing.T) {
	w := newWorld(t)
	group := w.group("alice", "bob")
	kept := w.say("alice", group, "kept by bob's client")["id"].(string)
	_, asOf := w.erasedSince("bob", "")
	w.must(http.StatusNoContent, "alice", "DELETE", "/v1/conversations/"+group+"/members/bob", "")
	w.must(http.StatusOK, "alice", "POST", "/v1/messages/"+kept+"/revoke", "")
	ids, asOf := w.erasedSince("bob", asOf)
	if len(ids) != 0 {
		t.Errorf("while away: %v", ids)
	}
	w.must(http.StatusOK, "alice", "POST", "/v1/conversations/"+group+"/members", `{"members":["bob"]}`)
	if ids, _ = w.erasedSince("bob", asOf); !slices.Equal(ids, []string{kept}) {
		t.Errorf("back again: %v, want %s", ids, kept)
	}
}
