package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/testsize"
)

func TestStreamDeliversAndResumes(t *testing.T) {
	w := newWorld(t)
	s := w.listen("bob", nil)
	if ct := s.res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	ready, _ := s.expect("ready")
	if ready.id == "" || ready.retry == "" {
		t.Errorf("ready has no id, or comes without retry: %+v", ready)
	}
	sent := w.say("alice", "@bob", "one")
	s.expect("conversation.created")
	one, v := s.expect("message.created")
	if v["message_id"] != sent["id"] || v["actor"] != "alice" || v["sender"] != "alice" || v["seq"] != 1.0 ||
		v["conversation_id"] != sent["conversation_id"] || v["message"].(map[string]any)["body"].(map[string]any)["text"] != "one" {
		t.Errorf("received %v", v)
	}
	s.close()

	w.say("alice", "@bob", "two")
	for name, resumed := range map[string]*reader{
		"Last-Event-ID": w.listen("bob", nil, "Last-Event-ID", one.id),
		"cursor":        w.listen("bob", url.Values{"cursor": {one.id}}),
		"both":          w.listen("bob", url.Values{"cursor": {ready.id}}, "Last-Event-ID", one.id),
	} {
		if f, _ := resumed.expect("ready"); f.id != one.id {
			t.Errorf("%s: ready at %s, want where the client was", name, f.id)
		}
		if _, v := resumed.expect("message.created"); v["seq"] != 2.0 {
			t.Errorf("%s: resumed with %v", name, v)
		}
	}
	again := w.listen("bob", url.Values{"cursor": {ready.id}})
	again.expect("ready")
	again.expect("conversation.created")
	if f, _ := again.expect("message.created"); f.id != one.id {
		t.Errorf("replayed under %s, delivered under %s", f.id, one.id)
	}
}

func TestStreamLeavesOutTheActingDevice(t *testing.T) {
	w := newWorld(t)
	phone := w.listen("alice", nil, "X-Device-Id", "phone")
	tablet := w.listen("alice", nil, "X-Device-Id", "tablet")
	none := w.listen("alice", nil)
	for _, s := range []*reader{phone, tablet, none} {
		s.expect("ready")
	}
	body := `{"type":"text","body":{"text":"mine"}}`
	m := w.must(http.StatusCreated, "alice", http.MethodPost, toBob, body, "X-Device-Id", "phone")
	w.say("bob", "@alice", "theirs")
	for name, s := range map[string]*reader{"tablet": tablet, "no device": none} {
		s.expect("conversation.created")
		if _, v := s.expect("message.created"); v["message_id"] != m["id"] || v["actor_device"] != "phone" {
			t.Errorf("%s: received %v", name, v)
		}
		s.expect("message.created")
	}
	if _, v := phone.expect("message.created"); v["sender"] != "bob" {
		t.Errorf("the acting device received its own event: %v", v)
	}
	for device, want := range map[string]int{"phone": 1, "tablet": 3, "": 3} {
		header := []string{"Accept", "application/json"}
		if device != "" {
			header = append(header, "X-Device-Id", device)
		}
		page := w.must(http.StatusOK, "alice", http.MethodGet, "/v1/events", "", header...)
		if got := len(page["items"].([]any)); got != want {
			t.Errorf("the page of %q has %d events, want %d", device, got, want)
		}
	}
}

func TestDeviceOfTheTokenIsBinding(t *testing.T) {
	w := newWorld(t)
	bound := "Bearer " + mint(t, auth.Grant{User: "alice", Device: "phone"}, 0)
	m := w.must(http.StatusCreated, "", http.MethodPost, toBob, `{"type":"text","body":{"text":"x"}}`, "Authorization", bound)
	if m["sender_device"] != "phone" {
		t.Errorf("sent on %v", m["sender_device"])
	}
	w.must(http.StatusOK, "", http.MethodGet, "/v1/conversations", "", "Authorization", bound, "X-Device-Id", "phone")
	a := w.do("", http.MethodGet, "/v1/conversations", "", "Authorization", bound, "X-Device-Id", "other")
	if a.status != http.StatusBadRequest || a.code(t) != "device_mismatch" {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestDeviceNamedTwiceIsRefused(t *testing.T) {
	w := newWorld(t)
	req, err := http.NewRequest(http.MethodGet, w.url+"/v1/conversations", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
	req.Header["X-Device-Id"] = []string{"phone", "tablet"}
	a := w.send(req)
	if field := a.json(t)["field"]; a.status != http.StatusBadRequest || a.code(t) != "invalid_request" || field != "X-Device-Id" {
		t.Errorf("got %d %s, want 400 invalid_request of X-Device-Id", a.status, a.body)
	}
}

func TestPagesAreTheSameLog(t *testing.T) {
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
	w.say("alice", "@bob", "x")
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
		f, _ = first.event() // by then the hub has published it
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
	// An empty cursor is damaged, too; a client without a cursor may send the empty header.
	s := w.listen("bob", url.Values{"cursor": {""}})
	s.expect("ready")
	s.expect("reset")
	w.listen("bob", nil, "Last-Event-ID", "").expect("ready")
	if a := w.do("bob", http.MethodGet, "/v1/events?cursor=", "", "Accept", "application/json"); a.code(t) != "invalid_cursor" {
		t.Errorf("an empty cursor of a page: %d %s", a.status, a.body)
	}
}

func TestTicketOpensTheStreamAndNothingElse(t *testing.T) {
	w := newWorld(t)
	answer := w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/events/tickets", "", "X-Device-Id", "browser")
	ticket := answer["ticket"].(string)
	s := w.listen("", url.Values{"ticket": {ticket}})
	s.expect("ready")
	w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/conversations/@alice/messages", `{"type":"text","body":{"text":"own"}}`, "X-Device-Id", "browser")
	w.say("alice", "@bob", "x")
	if _, v := s.expect("message.created"); v["sender"] != "alice" {
		t.Errorf("the ticket lost its device: received %v", v)
	}
	for _, c := range []struct{ method, path, header string }{
		{"GET", "/v1/conversations?ticket=" + url.QueryEscape(ticket), ""},
		{"POST", "/v1/events/tickets?ticket=" + url.QueryEscape(ticket), ""},
		{"GET", "/v1/conversations", "Bearer " + ticket},
		{"GET", "/v1/events", "Bearer " + ticket},
	} {
		if a := w.do("", c.method, c.path, "", "Authorization", c.header); a.status != http.StatusUnauthorized {
			t.Errorf("%s %s took a ticket: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	if a := w.do("", http.MethodGet, "/v1/events?ticket=x", ""); a.status != http.StatusUnauthorized || a.code(t) != "ticket_invalid" {
		t.Errorf("a bad ticket: %d %s", a.status, a.body)
	}
	if a := w.do("", http.MethodGet, "/v1/events?ticket="+url.QueryEscape(tokenOf(t, "bob")), ""); a.status != http.StatusUnauthorized {
		t.Errorf("a token as a ticket: %d", a.status)
	}
}

func TestCutOffHoldsAtOnceAndEndsStreams(t *testing.T) {
	w := newWorld(t)
	old := "Bearer " + mint(t, auth.Grant{User: "bob"}, time.Minute)
	ticket := w.must(http.StatusCreated, "", http.MethodPost, "/v1/events/tickets", "", "Authorization", old)["ticket"].(string)
	byToken := w.listen("", nil, "Authorization", old)
	byTicket := w.listen("", url.Values{"ticket": {ticket}})
	other := w.listen("alice", nil)
	for _, s := range []*reader{byToken, byTicket, other} {
		s.expect("ready")
	}
	if a := w.do("bob", http.MethodPost, "/v1/admin/users/bob/tokens/cut", ""); a.status != http.StatusForbidden || a.code(t) != "admin_required" {
		t.Fatalf("without the scope: %d %s", a.status, a.body)
	}
	admin := "Bearer " + mint(t, auth.Grant{User: "root", Admin: true}, 0)
	w.must(http.StatusOK, "", http.MethodPost, "/v1/admin/users/bob/tokens/cut", "", "Authorization", admin)
	if a := w.do("", http.MethodGet, "/v1/conversations", "", "Authorization", old); a.status != http.StatusUnauthorized || a.code(t) != "token_cut_off" {
		t.Errorf("an old token: %d %s", a.status, a.body)
	}
	if a := w.do("", http.MethodGet, "/v1/events?ticket="+url.QueryEscape(ticket), ""); a.status != http.StatusUnauthorized {
		t.Errorf("an old ticket: %d %s", a.status, a.body)
	}
	for name, s := range map[string]*reader{"token": byToken, "ticket": byTicket} {
		if f, ok := s.next(); ok {
			t.Errorf("the stream of an old %s goes on: %+v", name, f)
		}
	}
	w.say("carol", "@alice", "x")
	other.expect("conversation.created")
	// Those that are issued from the next second on are good.
	deadline := time.Now().Add(time.Minute)
	for {
		fresh := "Bearer " + mint(t, auth.Grant{User: "bob"}, 0)
		a := w.do("", http.MethodGet, "/v1/conversations", "", "Authorization", fresh)
		if a.status == http.StatusOK {
			return
		}
		if a.code(t) != "token_cut_off" || time.Now().After(deadline) {
			t.Fatalf("a new token: %d %s", a.status, a.body)
		}
	}
}

func TestStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var short string
	var s *reader
	for ttl := 2 * time.Second; s == nil; ttl *= 2 { // on a busy machine it may have expired before it is read
		short = mint(t, auth.Grant{User: "bob", TTL: ttl}, 0)
		if a := w.do("", http.MethodGet, "/v1/conversations", "", "Authorization", "Bearer "+short); a.status == http.StatusOK {
			s = w.listen("", nil, "Authorization", "Bearer "+short)
		}
	}
	s.expect("ready")
	if f, ok := s.next(); ok {
		t.Errorf("got %+v", f)
	}
	if err := s.in.Err(); err != nil {
		t.Errorf("the stream was torn, not ended: %v", err)
	}
	if a := w.do("", http.MethodGet, "/v1/events", "", "Authorization", "Bearer "+short); a.code(t) != "token_expired" {
		t.Errorf("got %s", a.body)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	t.Run("a user", func(t *testing.T) {
		w := newWorld(t)
		for range 32 {
			w.listen("bob", nil).expect("ready")
		}
		a := w.do("bob", http.MethodGet, "/v1/events", "")
		if a.status != http.StatusTooManyRequests || a.code(t) != "too_many_streams" || a.header.Get("Retry-After") == "" {
			t.Errorf("the 33rd: %d %s", a.status, a.body)
		}
		w.listen("alice", nil).expect("ready")
		ticket := w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/events/tickets", "")["ticket"].(string)
		if f, ok := w.listen("", url.Values{"ticket": {ticket}}).next(); ok || f.retry == "" {
			t.Errorf("the 33rd with a ticket, an EventSource: %+v", f)
		}
	})
	t.Run("all", func(t *testing.T) {
		w := newWorld(t, func(_ *handlers.Options, e *events.Options, _ *im.Policy) { e.MaxStreams = 1 })
		w.listen("bob", nil).expect("ready")
		s := w.listen("alice", nil)
		if f, ok := s.next(); ok || f != (frame{retry: f.retry}) || f.retry == "" {
			t.Errorf("an overloaded server answered %+v", f)
		}
	})
}

func TestClosingTheHubEndsStreamsCleanly(t *testing.T) {
	w := newWorld(t)
	s := w.listen("bob", nil)
	s.expect("ready")
	w.hub.Close()
	if f, ok := s.next(); ok {
		t.Errorf("got %+v", f)
	}
	if err := s.in.Err(); err != nil {
		t.Errorf("the stream was torn, not ended: %v", err)
	}
	w.server.Drain()
	if a := w.do("", http.MethodGet, "/readyz", ""); a.status != http.StatusServiceUnavailable || a.code(t) != "shutting_down" {
		t.Errorf("ready: %d %s", a.status, a.body)
	}
	// Any other status than 200 would end an EventSource for good.
	again := w.listen("bob", nil)
	if f, ok := again.next(); ok || f != (frame{retry: f.retry}) || f.retry == "" {
		t.Errorf("a new stream: %+v", f)
	}
}

func TestOnlyAllowedOriginsMayCall(t *testing.T) {
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Origins = []string{"https://app.example"}
	})
	for origin, allowed := range map[string]bool{"https://app.example": true, "https://evil.example": false} {
		a := w.do("", http.MethodOptions, toBob, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
		if got := a.header.Get("Access-Control-Allow-Origin") == origin; got != allowed {
			t.Errorf("preflight from %s: %v", origin, a.header)
		}
		a = w.do("alice", http.MethodGet, "/v1/conversations", "", "Origin", origin)
		if got := a.header.Get("Access-Control-Allow-Origin") == origin; got != allowed {
			t.Errorf("request from %s: %v", origin, a.header)
		}
	}
}

// TestPreflightAllowsUsualHeaders checks that a page may send the headers of libraries for
// event streams, request wrappers and tracing, and read the headers that it needs.
func TestPreflightAllowsUsualHeaders(t *testing.T) {
	const origin = "https://app.example"
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) { o.Origins = []string{origin} })
	for _, header := range []string{
		"authorization", "content-type", "x-device-id", "last-event-id", "accept", "accept-language", "cache-control", "pragma",
		"x-requested-with", "x-request-id", "x-correlation-id", "idempotency-key", "if-none-match", "if-match",
		"traceparent", "tracestate", "baggage", "sentry-trace", "b3", "x-b3-traceid", "x-datadog-trace-id", "x-amzn-trace-id",
		"authorization,cache-control,last-event-id,traceparent,x-device-id",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			a := w.do("", http.MethodOptions, "/v1/events", "", "Origin", origin,
				"Access-Control-Request-Method", method, "Access-Control-Request-Headers", header)
			if a.status/100 != 2 || a.header.Get("Access-Control-Allow-Origin") != origin ||
				a.header.Get("Access-Control-Allow-Methods") != method || a.header.Get("Access-Control-Allow-Headers") != header {
				t.Errorf("%s with %s: %d %v", method, header, a.status, a.header)
			}
		}
	}
	a := w.do("", http.MethodOptions, "/v1/events", "", "Origin", "https://evil.example",
		"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	if a.header.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("another origin: %v", a.header)
	}
	exposed := w.do("alice", http.MethodGet, "/v1/conversations", "", "Origin", origin).header.Get("Access-Control-Expose-Headers")
	for _, want := range []string{"Retry-After", "ETag", "Location", "Date"} {
		if !slices.ContainsFunc(strings.Split(exposed, ","), func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), want) }) {
			t.Errorf("%s is not exposed: %q", want, exposed)
		}
	}
}

// TestHeadIsAnsweredAsGet requests the headers of every GET of the document.
func TestHeadIsAnsweredAsGet(t *testing.T) {
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a 1\n")) })
		o.Demo = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<p>demo")) })
	})
	message := w.say("alice", "@bob", "x")
	paths := []string{"/", "/nowhere"}
	spec, _ := contract()
	for path, item := range spec.Paths.Map() {
		if item.Get == nil {
			continue
		}
		for name, value := range map[string]string{"{conversation}": "@bob", "{message}": message["id"].(string)} {
			path = strings.ReplaceAll(path, name, value)
		}
		if path != "/v1/events" {
			paths = append(paths, path) // or with names left in it: 404
		}
	}
	for _, user := range []string{"alice", ""} {
		for _, path := range paths {
			get, head := w.do(user, http.MethodGet, path, ""), w.do(user, http.MethodHead, path, "")
			if head.status != get.status || len(head.body) > 0 {
				t.Errorf("HEAD %s by %q: %d with %d bytes, GET %d", path, user, head.status, len(head.body), get.status)
			}
			for _, name := range []string{"Date", "Content-Length"} {
				get.header.Del(name)
				head.header.Del(name)
			}
			if !reflect.DeepEqual(head.header, get.header) {
				t.Errorf("HEAD %s by %q: %v, GET %v", path, user, head.header, get.header)
			}
		}
	}
	export := w.do("", http.MethodHead, "/v1/admin/export", "", "Authorization", adminOf(t))
	if export.status != http.StatusOK || export.header.Get("Content-Type") != "application/x-ndjson" || len(export.body) > 0 {
		t.Errorf("HEAD of an export: %d %v", export.status, export.header)
	}
	stream := w.do("alice", http.MethodHead, "/v1/events", "") // and it ends
	if stream.status != http.StatusOK || stream.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD of the stream: %d %v", stream.status, stream.header)
	}
	ticket := w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/events/tickets", "")["ticket"].(string)
	if a := w.do("", http.MethodHead, "/v1/events?ticket="+ticket, ""); a.status != http.StatusOK {
		t.Errorf("HEAD of the stream by ticket: %d", a.status)
	}
	if a := w.do("alice", http.MethodHead, "/v1/conversations/@bob/hide", ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
		t.Errorf("HEAD where there is no GET: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
}

// TestIdleStreamOutlivesItsWriteDeadline checks that a write deadline ends a write that
// blocks, and not the silence after one, at which HTTP/2 would reset the stream.
func TestIdleStreamOutlivesItsWriteDeadline(t *testing.T) {
	const deadline = time.Second // in which a busy machine writes something
	for name, protocol := range map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) { o.WriteTimeout = deadline })
			protocols := new(http.Protocols)
			protocol(protocols)
			srv := httptest.NewUnstartedServer(w.routes)
			srv.Config.Protocols = protocols
			srv.Config.ReadTimeout, srv.Config.WriteTimeout = deadline, deadline
			srv.Start()
			t.Cleanup(srv.Close)
			transport := &http.Transport{Protocols: protocols}
			t.Cleanup(transport.CloseIdleConnections)

			req, _ := http.NewRequest(http.MethodGet, srv.URL+"/v1/events", nil)
			req.Header.Set("Authorization", "Bearer "+tokenOf(t, "bob"))
			s := w.followWith(&http.Client{Transport: transport}, req)
			s.expect("ready")
			<-time.After(3 * deadline) // the sockets' deadlines know no other clock
			w.say("alice", "@bob", "x")
			s.expect("conversation.created")
			s.expect("message.created")
			w.hub.Close()
			if f, ok := s.next(); ok || s.in.Err() != nil {
				t.Errorf("the stream ended with %+v, %v", f, s.in.Err())
			}
		})
	}
}

// TestPagesOfOwnEventsAreBounded checks that events left out of a page do not cost a
// read each.
func TestPagesOfOwnEventsAreBounded(t *testing.T) {
	w := newWorld(t)
	const n = 2*64*32 + 1 // more than a page reads
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
