package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
)

// hookRequest is a request to a receiver.
type hookRequest struct {
	id, timestamp, signature string
	body                     []byte
	payload                  hookPayload
}

type hookPayload struct {
	Type      string
	Timestamp time.Time
	Data      struct {
		ID, Type     string
		MessageID    string `json:"message_id"`
		WebhookID    string `json:"webhook_id"`
		Reason       string
		After        string
		PushContent  string          `json:"push_content"`
		PushPayload  json.RawMessage `json:"push_payload"`
		Message      *client.Message
		Conversation string `json:"conversation_id"`
	}
	To      string
	Push    json.RawMessage
	Offline *struct {
		Users []string
		Count int
		Among string
	}
}

// receiver is an endpoint of an application. It checks signatures with the library of the
// specification.
type receiver struct {
	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex
	secrets []string
	got     []hookRequest
	answer  func(n int, r hookRequest) int // the status of the nth request
	came    chan struct{}
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t, came: make(chan struct{}, 1)}
	r.server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
	})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the server was killed
	}
	got := hookRequest{id: req.Header.Get("webhook-id"), timestamp: req.Header.Get("webhook-timestamp"), signature: req.Header.Get("webhook-signature"), body: body}
	if err := json.Unmarshal(body, &got.payload); err != nil {
		r.t.Errorf("a webhook got %q: %v", body, err)
	}
	r.mu.Lock()
	for _, secret := range r.secrets {
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = verifier.Verify(body, req.Header)
		}
		if err != nil {
			r.t.Errorf("the request %s does not verify: %v", got.id, err)
		}
	}
	if got.id != got.payload.Data.ID {
		r.t.Errorf("webhook-id is %s, the event %s", got.id, got.payload.Data.ID)
	}
	n := len(r.got)
	r.got = append(r.got, got)
	status := http.StatusNoContent
	if r.answer != nil {
		status = r.answer(n, got)
	}
	r.mu.Unlock()
	select {
	case r.came <- struct{}{}:
	default:
	}
	w.WriteHeader(status)
}

// all returns the requests so far.
func (r *receiver) all() []hookRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// until waits until a condition holds for the requests so far, and returns them.
func (r *receiver) until(what string, holds func([]hookRequest) bool) []hookRequest {
	r.t.Helper()
	late := time.After(patience)
	for {
		if got := r.all(); holds(got) {
			return got
		}
		select {
		case <-r.came:
		case <-late:
			r.t.Fatalf("%s: %d requests after %v", what, len(r.all()), patience)
		}
	}
}

// texts returns the texts of the messages in the requests, in order.
func texts(list []hookRequest) []string {
	var out []string
	for _, got := range list {
		var body client.TextBody
		if m := got.payload.Data.Message; m != nil && m.Body != nil && json.Unmarshal(m.Body, &body) == nil {
			out = append(out, body.Text)
		}
	}
	return out
}

// admin returns a client with the scope admin.
func (s *server) admin() *client.Client { return s.clientWith(s.token("root", "--admin"), "") }

// hook creates a webhook.
func (s *server) hook(to *receiver, events ...string) *client.Webhook {
	s.t.Helper()
	d := client.CreateWebhook{URL: to.server.URL}
	if len(events) > 0 {
		d.Events = &events
	}
	res, err := s.admin().CreateWebhookWithResponse(context.Background(), &client.CreateWebhookParams{}, d)
	if err != nil {
		s.t.Fatal(err)
	}
	to.mu.Lock()
	to.secrets = []string{*res.JSON201.Secret}
	to.mu.Unlock()
	return res.JSON201
}

func (s *server) hookNow(id string) *client.Webhook {
	s.t.Helper()
	res, err := s.admin().GetWebhookWithResponse(context.Background(), id, &client.GetWebhookParams{})
	if err != nil {
		s.t.Fatal(err)
	}
	return res.JSON200
}

func (s *server) deliveries(id string) []client.Delivery {
	s.t.Helper()
	var all []client.Delivery
	var limit int32 = 3
	var page *string
	for {
		res, err := s.admin().ListDeliveriesWithResponse(context.Background(), id, &client.ListDeliveriesParams{Limit: &limit, PageToken: page})
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, res.JSON200.Items...)
		if page = res.JSON200.NextPageToken; page == nil {
			return all
		}
	}
}

// TestWebhooks follows an application that notifies users by webhooks.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--webhooks-allow-private")
	ctx := context.Background()
	alice := s.client("alice", "")
	r := newReceiver(t)
	hook := s.hook(r, "message.created", "message.revoked")

	push := client.SendPush(`{"title":"Alice"}`)
	sent, err := alice.Send(ctx, "@bob", client.SendText{Body: client.TextBody{Text: "hello"}, Push: &push})
	if err != nil {
		t.Fatal(err)
	}
	got := r.until("the first message", func(got []hookRequest) bool { return len(got) == 1 })
	first := got[0].payload
	if first.Type != "message.created" || first.Data.MessageID != sent.ID || texts(got)[0] != "hello" || string(first.Push) != `{"title":"Alice"}` {
		t.Errorf("the webhook got %s", got[0].body)
	}
	if off := first.Offline; off == nil || !slices.Equal(off.Users, []string{"bob"}) || off.Count != 1 || off.Among != "members" {
		t.Errorf("offline: %+v", first.Offline)
	}
	if hook.Secret == nil || s.hookNow(hook.ID).Secret != nil {
		t.Error("the secret is not shown only at creation")
	}

	// A user with an open stream is not offline.
	listening, stop := context.WithCancel(ctx)
	defer stop()
	opened := make(chan struct{})
	go func() {
		for e, err := range s.client("bob", "").Events(listening, client.EventsOptions{}) {
			if err == nil && e.Type == client.EventTypeReady {
				close(opened)
			}
		}
	}()
	<-opened
	if _, err := say(ctx, alice, "@bob", "", "you are here"); err != nil {
		t.Fatal(err)
	}
	got = r.until("the second message", func(got []hookRequest) bool { return len(got) == 2 })
	if off := got[1].payload.Offline; off == nil || len(off.Users) != 0 || off.Count != 0 {
		t.Errorf("offline: %+v", off)
	}

	// A revoke is delivered with its push notification, and erased content is not sent again.
	note := "taken back"
	if _, err := alice.RevokeMessageWithResponse(ctx, sent.ID, &client.RevokeMessageParams{}, client.Revoke{PushContent: &note}); err != nil {
		t.Fatal(err)
	}
	got = r.until("the revoke", func(got []hookRequest) bool { return len(got) == 3 })
	if p := got[2].payload; p.Type != "message.revoked" || p.Data.PushContent != note || p.Data.Message == nil || bytes.Contains(got[2].body, []byte("hello")) {
		t.Errorf("the webhook got %s", got[2].body)
	}
	await.Until(t, "there are three deliveries", func() bool { return len(s.deliveries(hook.ID)) == 3 })
	list := s.deliveries(hook.ID)
	from := list[len(list)-1].ID
	if from != got[0].id {
		t.Errorf("the oldest delivery is %s, want %s", from, got[0].id)
	}
	if _, err := s.admin().RedeliverWithResponse(ctx, hook.ID, &client.RedeliverParams{}, client.Redeliver{From: &from}); err != nil {
		t.Fatal(err)
	}
	got = r.until("all again", func(got []hookRequest) bool { return len(got) == 6 })
	for i, again := range got[3:] {
		if again.id != got[i].id {
			t.Errorf("redelivered %s, want %s", again.id, got[i].id)
		}
	}
	if again := got[3]; bytes.Contains(again.body, []byte("hello")) || bytes.Contains(again.body, []byte("Alice")) || again.payload.Data.Message.State != "revoked" {
		t.Errorf("the webhook got erased content: %s", again.body)
	}
	if secret := *hook.Secret; strings.Contains(s.log.String(), secret) || strings.Contains(s.log.String(), r.server.URL) {
		t.Error("the log has the secret or the URL")
	}
}

// TestWebhookAfterACrash kills the server while it delivers, again and again: every message
// arrives, in order, and only under ids that it had before.
func TestWebhookAfterACrash(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--webhooks-allow-private")
	alice := s.client("alice", "")
	r := newReceiver(t)
	s.hook(r, "message.created")
	const rounds, each = 3, 20
	for round := range rounds {
		before := len(r.all()) // now, because all may have arrived once the last one is sent
		for range each {
			if _, err := say(context.Background(), alice, "@bob", "", "hello"); err != nil {
				t.Fatal(err)
			}
		}
		r.until("some of them", func(got []hookRequest) bool { return len(got) > before })
		if round%2 == 0 {
			s.kill()
		} else if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		s.start()
	}
	last := func(got []hookRequest) bool {
		m := got[len(got)-1].payload.Data.Message
		return m != nil && m.Seq == rounds*each
	}
	got := r.until("all of them", last)
	ids, seqs := make(map[string]int64), int64(0)
	for _, one := range got {
		seq := one.payload.Data.Message.Seq
		if known, again := ids[one.id]; again {
			if known != seq {
				t.Errorf("%s is message %d, and was %d", one.id, seq, known)
			}
			continue
		}
		if seq != seqs+1 {
			t.Errorf("message %d came after %d", seq, seqs)
		}
		ids[one.id], seqs = seq, seq
	}
	if len(ids) != rounds*each {
		t.Errorf("%d messages arrived, want %d", len(ids), rounds*each)
	}
}
