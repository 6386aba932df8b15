package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

func TestPagesHaveTheEventsOfTheStream(t *testing.T) {
	w := newWorld(t)
	s := w.listen("bob", nil)
	s.expect("ready")
	g := w.group("alice", "bob", "carol")
	for i := range 25 {
		w.say("alice", g, fmt.Sprint(i))
		w.say("alice", "@eve", "not bob's")
	}
	w.must(http.StatusNoContent, "alice", http.MethodDelete, "/v1/conversations/"+g+"/members/bob", "")
	w.say("alice", g, "after bob")

	var live []string
	for last := ""; last != "member.removed"; {
		f, _ := s.event()
		live, last = append(live, f.id), f.event
	}
	page := func(query url.Values) map[string]any {
		return w.must(http.StatusOK, "bob", http.MethodGet, "/v1/events?"+query.Encode(), "", "Accept", "application/json")
	}
	for _, limit := range []string{"1", "7", "1000"} {
		var got []string
		query := url.Values{"limit": {limit}}
		for {
			p := page(query)
			items := p["items"].([]any)
			for _, e := range items {
				got = append(got, e.(map[string]any)["id"].(string))
			}
			token, more := p["next_page_token"].(string)
			if !more {
				break
			}
			query.Set("page_token", token)
		}
		if !slices.Equal(got, live) {
			t.Errorf("limit %s: the pages have %d events, the stream had %d", limit, len(got), len(live))
		}
	}
	end := page(url.Values{"limit": {"1000"}})
	rest := page(url.Values{"cursor": {end["cursor"].(string)}})
	if len(rest["items"].([]any)) != 0 || rest["next_page_token"] != nil {
		t.Errorf("after the end: %v", rest)
	}
}

func TestReplayAfterLeavingHasNoContent(t *testing.T) {
	w := newWorld(t)
	g := w.group("alice", "bob")
	w.say("alice", g, "while bob was in")
	w.must(http.StatusNoContent, "bob", http.MethodPost, "/v1/conversations/"+g+"/leave", "")
	p := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/events", "", "Accept", "application/json")
	text, _ := json.Marshal(p)
	if !strings.Contains(string(text), "message.created") || strings.Contains(string(text), "while bob was in") {
		t.Errorf("got %s", text)
	}
}

func TestCursorTheLogCannotResumeGivesReset(t *testing.T) {
	w := newWorld(t)
	first := w.listen("bob", nil)
	w.say("alice", "@bob", "x")
	for f, _ := first.event(); f.event != "message.created"; {
		f, _ = first.event() // by then the hub has published the event
	}
	other := events.Cursor{Log: w.store.Instance().Log + 1, Position: 1}.String()
	ahead := events.Cursor{Log: w.store.Instance().Log, Position: 1000}.String()
	for name, cursor := range map[string]string{"another log": other, "ahead of the log": ahead} {
		s := w.listen("bob", url.Values{"cursor": {cursor}})
		s.expect("ready")
		reset, _ := s.expect("reset")
		w.say("alice", "@bob", "y")
		s.expect("message.created")
		p := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/events?cursor="+cursor, "", "Accept", "application/json")
		items := p["items"].([]any)
		if len(items) != 1 || items[0].(map[string]any)["type"] != "reset" {
			t.Errorf("%s: the page has %v", name, items)
		}
		w.listen("bob", nil, "Last-Event-ID", reset.id).expect("ready")
	}
}

// TestDamagedCursorGivesReset checks that a stream never answers a damaged cursor with a
// status at which an EventSource gives up, and that a page refuses it.
func TestDamagedCursorGivesReset(t *testing.T) {
	w := newWorld(t)
	first := w.listen("bob", nil)
	w.say("alice", "@bob", "x")
	for f, _ := first.event(); f.event != "message.created"; {
		f, _ = first.event() // by then the hub has published the event
	}
	first.close()
	good := events.Cursor{Log: w.store.Instance().Log, Position: 1}.String()
	damaged := []byte(good)
	damaged[7] ^= 1
	for name, text := range map[string]string{
		"damaged": string(damaged), "cut off": good[:10], "of another server": "1732550000-0",
		"a number": "42", "long": strings.Repeat("x", 1000), "not ASCII": "é 上",
	} {
		for by, asked := range map[string]struct {
			query  url.Values
			header []string
		}{
			"Last-Event-ID": {nil, []string{"Last-Event-ID", text}},
			"cursor":        {url.Values{"cursor": {text}}, nil},
			"lastEventId":   {url.Values{"lastEventId": {text}}, nil},
			"page_token":    {url.Values{"page_token": {text}}, nil},
			"over a cursor": {url.Values{"cursor": {good}}, []string{"Last-Event-ID", text}},
		} {
			t.Run(name+" "+by, func(t *testing.T) {
				if by == "page_token" && len(text) > 512 {
					t.Skip("the document bounds page tokens")
				}
				w := *w
				w.t = t
				s := w.listen("bob", asked.query, asked.header...)
				s.expect("ready")
				reset, _ := s.expect("reset")
				w.say("alice", "@bob", "y")
				s.expect("message.created")
				s.close()
				resumed := w.listen("bob", nil, "Last-Event-ID", reset.id)
				resumed.expect("ready")
				resumed.expect("message.created")
				resumed.close()
				a := w.do("bob", http.MethodGet, "/v1/events?"+asked.query.Encode(), "", append(asked.header, "Accept", "application/json")...)
				if a.status != http.StatusBadRequest || a.code(t) != "invalid_cursor" {
					t.Errorf("the page: %d %s", a.status, a.body)
				}
			})
		}
	}
	// An empty cursor is damaged, too; a client without a cursor may send an empty id.
	s := w.listen("bob", url.Values{"cursor": {""}})
	s.expect("ready")
	s.expect("reset")
	for _, s := range []*reader{
		w.listen("bob", url.Values{"cursor": {good}}, "Last-Event-ID", ""),
		w.listen("bob", url.Values{"cursor": {good}, "lastEventId": {""}}),
	} {
		if f, _ := s.expect("ready"); f.id != good {
			t.Errorf("an empty id hides the cursor: ready at %s, want %s", f.id, good)
		}
	}
	if a := w.do("bob", http.MethodGet, "/v1/events?lastEventId=a&lastEventId=b", ""); a.json(t)["field"] != "lastEventId" {
		t.Errorf("two ids: %d %s", a.status, a.body)
	}
	if a := w.do("bob", http.MethodGet, "/v1/events/log?lastEventId="+good, ""); a.json(t)["field"] != "lastEventId" {
		t.Errorf("an id for a page: %d %s", a.status, a.body)
	}
	if a := w.do("bob", http.MethodGet, "/v1/events?cursor=", "", "Accept", "application/json"); a.code(t) != "invalid_cursor" {
		t.Errorf("an empty cursor of a page: %d %s", a.status, a.body)
	}
}

// TestPagesOfOwnEventsAreBounded checks that events left out of a page do not cost a
// read each.
func TestPagesOfOwnEventsAreBounded(t *testing.T) {
	w := newWorld(t)
	const n = 2*64*32 + 1 // more events than a page reads
	g := w.group("alice", "bob")
	id, ok := im.ParseID(g)
	if !ok {
		t.Fatal(g)
	}
	phone := im.Actor{User: "alice", Device: "phone"}
	var sending sync.WaitGroup
	for worker := range 16 {
		sending.Go(func() {
			for i := worker; i < n; i += 16 {
				draft := im.Draft{Type: im.Text, Body: []byte(`{"text":"x"}`)}
				if _, err := w.service.Send(t.Context(), phone, im.ConversationRef{ID: id}, draft); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
	w.say("bob", g, "the only one for the phone")
	found, pages := 0, 0
	query := url.Values{"limit": {"1"}}
	for more := true; more; {
		p := w.must(http.StatusOK, "alice", http.MethodGet, "/v1/events?"+query.Encode(), "", "Accept", "application/json", "X-Device-Id", "phone")
		var token string
		token, more = p["next_page_token"].(string)
		query.Set("page_token", token)
		for _, e := range p["items"].([]any) {
			if e.(map[string]any)["type"] == "message.created" {
				found++
			}
		}
		pages++
	}
	if found != 1 || pages < 2 || pages > 10 {
		t.Errorf("found %d messages on %d pages", found, pages)
	}
}

// TestPagesAreBoundedInBytes checks that large messages make more pages, not larger ones.
func TestPagesAreBoundedInBytes(t *testing.T) {
	w := newWorld(t)
	large := strings.Repeat("<", 4000)
	n := testsize.Pick(600, 200)
	for range n {
		w.say("alice", "@bob", large)
	}
	seen := 0
	query := url.Values{"limit": {"1000"}}
	for more := true; more; {
		a := w.do("bob", http.MethodGet, "/v1/events?"+query.Encode(), "", "Accept", "application/json")
		if a.status != http.StatusOK || len(a.body) > 2<<20 {
			t.Fatalf("%d, %d bytes", a.status, len(a.body))
		}
		p := a.json(t)
		var token string
		token, more = p["next_page_token"].(string)
		query.Set("page_token", token)
		for _, e := range p["items"].([]any) {
			if e.(map[string]any)["type"] == "message.created" {
				seen++
				if got := e.(map[string]any)["seq"]; got != float64(seen) {
					t.Fatalf("seq %v after %d", got, seen-1)
				}
			}
		}
	}
	if seen != n {
		t.Errorf("%d of %d", seen, n)
	}
}
