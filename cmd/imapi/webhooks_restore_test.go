package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/steps"
)

// TestWebhookAfterARestore restores a backup: the webhook continues at its position in the backup.
// It gets the events of that time again under the same ids, with tombstones for messages that were
// erased since; a gap event that says which events are lost; and new events under new ids, so that
// a receiver that skips known ids misses nothing.
func TestWebhookAfterARestore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := startServer(t, "--webhooks-allow-private")
	step := steps.Begin(t)
	alice := s.client("alice", "")
	r := newReceiver(t)
	hook := s.hook(r, "message.created", "message.revoked")
	send := func(text string) client.Message {
		t.Helper()
		m, err := say(ctx, alice, "@bob", "", text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	has := func(text string) func([]hookRequest) bool {
		return func(got []hookRequest) bool { return slices.Contains(texts(got), text) }
	}

	step("one message is delivered, two are not")
	send("delivered")
	r.until("the first message", has("delivered"))
	r.mu.Lock()
	r.answer = func(int, hookRequest) int { return http.StatusServiceUnavailable }
	r.mu.Unlock()
	send("waiting")
	secret := send("Quellwolke")
	r.until("an attempt", has("waiting"))
	step("back up, deliver both, revoke one, send more")
	out, _ := s.mustCommand("", "backup", filepath.Join(t.TempDir(), "backups"))
	r.mu.Lock()
	r.answer = nil
	r.mu.Unlock()
	r.until("the others", has("Quellwolke"))
	if _, err := alice.RevokeMessageWithResponse(ctx, secret.ID, &client.RevokeMessageParams{}, client.Revoke{}); err != nil {
		t.Fatal(err)
	}
	send("lost")
	before := r.until("what the backup does not have", has("lost"))

	step("restore")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.mustCommand("", "restore", strings.TrimSpace(out))
	s.start()
	// The server is ready before it has published the gap.
	r.until("the gap", func(got []hookRequest) bool {
		return slices.ContainsFunc(got, func(request hookRequest) bool { return request.payload.Type == "webhook.gap" })
	})
	send("new")
	after := r.until("the new message", has("new"))[len(before):]

	step("what the webhook got")
	known := make(map[string]hookRequest) // the last request for each id
	for _, request := range before {
		known[request.id] = request
	}
	got := kindsOf(after, known)
	for _, request := range after {
		if bytes.Contains(request.body, []byte("Quellwolke")) {
			t.Errorf("the webhook gets erased content: %s", request.body)
		}
	}
	// The backup may have been made before the first delivery was stored.
	got = slices.DeleteFunc(got, func(what string) bool { return what == "message.created activedelivered, again" })
	want := []string{
		"message.created activewaiting, again", "message.created revoked, again",
		"message.revoked revoked", "webhook.gap", "message.created activenew",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the webhook got %q, want %q", got, want)
	}
	for _, request := range after {
		if request.payload.Type != "webhook.gap" {
			continue
		}
		last := known[request.payload.Data.After]
		if request.payload.Data.Reason != "restored" || last.payload.Data.MessageID != secret.ID {
			t.Errorf("the gap is %s, after the event of message %s, want that of %s", request.body, last.payload.Data.MessageID, secret.ID)
		}
	}
	if now := s.hookNow(hook.ID); now.State != "active" {
		t.Errorf("the webhook is %s", now.State)
	}
}

// kindsOf describes each request by its type, the state and the text of its message, and whether its
// id was known before. It leaves out repeated attempts.
func kindsOf(requests []hookRequest, known map[string]hookRequest) (kinds []string) {
	for _, request := range requests {
		what := request.payload.Type
		if m := request.payload.Data.Message; m != nil {
			what += " " + string(m.State) + strings.Join(texts([]hookRequest{request}), "")
		}
		if _, again := known[request.id]; again {
			what += ", again"
		}
		if !slices.Contains(kinds, what) {
			kinds = append(kinds, what)
		}
	}
	return kinds
}

// TestWebhookSecretAfterARestore: a webhook whose secret was replaced after the backup is off until
// it gets a new one. The replaced secret cannot come back.
func TestWebhookSecretAfterARestore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := startServer(t, "--webhooks-allow-private")
	r := newReceiver(t)
	hook := s.hook(r, "message.created")
	out, _ := s.mustCommand("", "backup", filepath.Join(t.TempDir(), "backups"))
	if _, err := s.admin().RotateWebhookSecretWithResponse(ctx, hook.ID, &client.RotateWebhookSecretParams{}, client.RotateWebhookSecret{}); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.mustCommand("", "restore", strings.TrimSpace(out))
	s.start()
	if now := s.hookNow(hook.ID); now.State != "off" || now.Reason == nil || *now.Reason != "secret_lost" {
		t.Fatalf("the webhook is %+v", now)
	}
	if _, err := say(ctx, s.client("alice", ""), "@bob", "", "hello"); err != nil {
		t.Fatal(err)
	}
	replaced, err := s.admin().RotateWebhookSecretWithResponse(ctx, hook.ID, &client.RotateWebhookSecretParams{}, client.RotateWebhookSecret{})
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.secrets = []string{*replaced.JSON200.Secret}
	r.mu.Unlock()
	active := client.UpdateWebhookState("active")
	if _, err := s.admin().UpdateWebhookWithResponse(ctx, hook.ID, &client.UpdateWebhookParams{}, client.UpdateWebhook{State: &active}); err != nil {
		t.Fatal(err)
	}
	r.until("the message that was sent in the meantime", func(got []hookRequest) bool { return slices.Contains(texts(got), "hello") })
}
