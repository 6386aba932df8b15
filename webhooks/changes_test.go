package webhooks_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// For a day after a rotation, requests are signed with both the old secret and the new one.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var mu sync.Mutex
	var signed []func(secret string) bool
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body)
		mu.Lock()
		defer mu.Unlock()
		signed = append(signed, func(secret string) bool {
			verifier, err := standardwebhooks.NewWebhook(secret)
			return err == nil && verifier.VerifyIgnoringTimestamp(body, in.Header) == nil
		})
	}))
	t.Cleanup(server.Close)
	hook := w.hook(server.URL, im.MessageCreated)
	check := func(what string, byOld, byNew bool, second string) {
		t.Helper()
		mu.Lock()
		n := len(signed)
		mu.Unlock()
		w.say(what)
		await.Until(w, what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(signed) > n
		})
		mu.Lock()
		defer mu.Unlock()
		by := signed[len(signed)-1]
		if by(hook.Secret) != byOld || by(second) != byNew {
			t.Errorf("%s: signed by the first %t, by the second %t", what, by(hook.Secret), by(second))
		}
	}
	check("before", true, false, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	second, err := w.RotateWebhookSecret(w.ctx, root, hook.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	await.Until(w, "the new secret is used", func() bool {
		w.say("which?")
		mu.Lock()
		defer mu.Unlock()
		return len(signed) > 0 && signed[len(signed)-1](second.Secret)
	})
	check("in the day after", true, true, second.Secret)
	w.pass(25 * time.Hour)
	if n, err := w.ForgetPreviousSecrets(w.ctx); n != 1 || err != nil {
		t.Fatalf("forgot %d: %v", n, err)
	}
	await.Until(w, "the old secret is not used", func() bool {
		w.say("which?")
		mu.Lock()
		defer mu.Unlock()
		return !signed[len(signed)-1](hook.Secret)
	})
	check("later", false, true, second.Secret)
}

// Filters by type and kind leave out other events, and the position moves past them.
func TestFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, nil)
	kinds := []im.Kind{im.Group}
	hook := w.hook(r.url, im.MessageCreated)
	if _, err := w.UpdateWebhook(w.ctx, root, hook.ID, im.WebhookDraft{Kinds: &kinds}); err != nil {
		t.Fatal(err)
	}
	group, err := w.CreateGroup(w.ctx, im.Actor{User: "alice"}, im.GroupDraft{Kind: im.Group, Name: "g", Members: []im.UserID{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		w.say("not this")
		if i%10 == 0 {
			_, err := w.Send(w.ctx, im.Actor{User: "alice"}, im.ConversationRef{ID: group.ID}, im.Draft{Type: im.Text, Body: json.RawMessage(`{"text":"this"}`)})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	w.expect(r, "this", "this")
	if _, err := w.TestWebhook(w.ctx, root, hook.ID); err != nil {
		t.Fatal(err)
	}
	w.expect(r, "this", "this", "webhook.test")
	await.Until(w, "it has caught up", func() bool { v := w.stateOf(hook.ID); return v.Position == v.Head })
}

// If the filter of a webhook changes while an event is being retried, so that it no longer wants
// it, the event is left out, the next one has all of its attempts, and an admin can request a
// delivery of the first one.
func TestFilterChangedDuringRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var hook im.WebhookView
	kinds := []im.Kind{im.Group}
	attempts := 0 // used by one request at a time
	r := newReceiver(t, func(payload) int {
		if attempts++; attempts == 4 {
			w.loaded(func() {
				if _, err := w.UpdateWebhook(w.ctx, root, hook.ID, im.WebhookDraft{Kinds: &kinds}); err != nil {
					t.Error(err)
				}
			})
		}
		return 422
	})
	group, err := w.CreateGroup(w.ctx, im.Actor{User: "alice"}, im.GroupDraft{Kind: im.Group, Name: "g", Members: []im.UserID{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	hook = w.hook(r.url, im.MessageCreated)
	first := w.say("direct")
	w.expect(r, "direct", "direct", "direct", "direct")
	if _, err := w.Send(w.ctx, im.Actor{User: "alice"}, im.ConversationRef{ID: group.ID}, im.Draft{Type: im.Text, Body: json.RawMessage(`{"text":"group"}`)}); err != nil {
		t.Fatal(err)
	}
	want := []string{"direct", "direct", "direct", "direct", "group", "group", "group", "group", "group"}
	w.expect(r, want...)
	await.Until(w, "both are skipped", func() bool { return len(w.deliveries(hook.ID, im.DeliverySkipped)) == 2 })
	left := w.deliveries(hook.ID, im.DeliverySkipped)[1]
	if left.Message != first.ID || left.Attempts != 4 {
		t.Errorf("the event that is left out is listed as %+v", left)
	}
	r.answer(nil)
	if _, err := w.Redeliver(w.ctx, root, hook.ID, left.Position); err != nil {
		t.Fatal(err)
	}
	w.expect(r, append(want, "direct")...)
}
