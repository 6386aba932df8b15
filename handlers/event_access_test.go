package handlers_test

import (
	"bufio"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

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

func TestCutOffAppliesAtOnceAndEndsStreams(t *testing.T) {
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
	// Tokens that are issued from the next second on are valid.
	await.Until(t, "a new token is valid", func() bool {
		fresh := "Bearer " + mint(t, auth.Grant{User: "bob"}, 0)
		a := w.do("", http.MethodGet, "/v1/conversations", "", "Authorization", fresh)
		if a.status != http.StatusOK && a.code(t) != "token_cut_off" {
			t.Fatalf("a new token: %d %s", a.status, a.body)
		}
		return a.status == http.StatusOK
	})
}

func TestStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var short string
	// The machine may stand still, so that the token has expired before it is read.
	for ttl, opened := 2*time.Second, false; !opened; ttl *= 2 {
		if ttl > await.Limit {
			t.Fatal("no stream was opened")
		}
		short = mint(t, auth.Grant{User: "bob", TTL: ttl}, 0)
		opened = w.streamEnds(short)
	}
	if a := w.do("", http.MethodGet, "/v1/events", "", "Authorization", "Bearer "+short); a.code(t) != "token_expired" {
		t.Errorf("got %s", a.body)
	}
}

// streamEnds opens a stream, and expects that it ends properly after nothing but [events.Ready]. It
// reports whether the stream was opened: the token may have expired.
func (w *world) streamEnds(token string) (opened bool) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.url+"/v1/events", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &reader{t: w.t, res: res, in: bufio.NewScanner(res.Body)}
	defer s.close()
	if res.StatusCode == http.StatusUnauthorized {
		return false
	}
	for f, ok := s.next(); ok; f, ok = s.next() {
		if opened || f.event != "ready" {
			w.t.Errorf("got %+v", f)
		}
		opened = true
	}
	if err := s.in.Err(); err != nil {
		w.t.Errorf("the stream was torn, not ended: %v", err)
	}
	return opened
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
