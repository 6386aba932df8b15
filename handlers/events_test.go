package handlers_test

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/sockets"
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
		"lastEventId":   w.listen("bob", url.Values{"cursor": {ready.id}, "lastEventId": {one.id}}),
		"all":           w.listen("bob", url.Values{"cursor": {ready.id}, "lastEventId": {ready.id}}, "Last-Event-ID", one.id),
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
	// Any status other than 200 would end an EventSource for good.
	again := w.listen("bob", nil)
	if f, ok := again.next(); ok || f != (frame{retry: f.retry}) || f.retry == "" {
		t.Errorf("a new stream: %+v", f)
	}
}

// TestIdleStreamOutlivesItsWriteDeadline checks that a write deadline applies only to a write, and
// not to the silence after it, in which HTTP/2 would reset the stream.
func TestIdleStreamOutlivesItsWriteDeadline(t *testing.T) {
	t.Parallel()
	const deadline = 2 * time.Second // an attempt fails if the machine needs longer to write something
	for name, protocol := range map[string]func(*http.Protocols){
		"HTTP/1":             func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/1 of net/http": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2":             func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			await.Undisturbed(t, deadline/4, func() error {
				w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) { o.WriteTimeout = deadline })
				protocols := new(http.Protocols)
				protocol(protocols)
				srv := httptest.NewUnstartedServer(w.routes)
				srv.Config.Protocols = protocols
				srv.Config.ReadTimeout, srv.Config.WriteTimeout = deadline, deadline
				if name != "HTTP/1 of net/http" {
					srv.Config.ConnContext = sockets.ConnContext
				}
				srv.Start()
				t.Cleanup(srv.Close)
				transport := &http.Transport{Protocols: protocols}
				t.Cleanup(transport.CloseIdleConnections)

				req, _ := http.NewRequest(http.MethodGet, srv.URL+"/v1/events", nil)
				req.Header.Set("Authorization", "Bearer "+tokenOf(t, "bob"))
				res, err := (&http.Client{Transport: transport}).Do(req)
				if err != nil {
					return err
				}
				defer func() { _ = res.Body.Close() }()
				s := &reader{t: t, res: res, in: bufio.NewScanner(res.Body)}
				if got, err := s.upTo("ready"); err != nil {
					return fmt.Errorf("status %d, got %q: %w", res.StatusCode, got, err)
				}
				<-time.After(3 * deadline) // deadlines of sockets use the real clock
				w.say("alice", "@bob", "x")
				got, err := s.upTo("message.created")
				if err != nil {
					return fmt.Errorf("after %q: %w", got, err)
				}
				if len(got) != 2 || got[0] != "conversation.created" {
					return fmt.Errorf("got %q, want the events of a first message", got)
				}
				w.hub.Close()
				if f, ok := s.next(); ok {
					return fmt.Errorf("the stream goes on with %+v", f)
				}
				return s.in.Err()
			})
		})
	}
}

// upTo reads events up to one of a kind, and returns the kinds of all of them. The error is that of
// a stream that ends before.
func (r *reader) upTo(kind string) (got []string, err error) {
	for f, ok := r.next(); ok; f, ok = r.next() {
		if f.event == "" {
			continue
		}
		if got = append(got, f.event); f.event == kind {
			return got, nil
		}
	}
	return got, cmp.Or(r.in.Err(), io.ErrUnexpectedEOF)
}
