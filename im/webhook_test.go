package im_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestWebhookAttempts checks the results of attempts with each outcome, repeated at the times that
// the rule sets.
func TestWebhookAttempts(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct {
		attempt  im.Attempt
		attempts int // until the event is delivered or skipped, or the webhook is off
		state    im.DeliveryState
		fault    im.DeliveryFault
		off      im.WebhookReason
		atLeast  time.Duration // until then
		atMost   time.Duration
	}{
		"200":               {attempt: im.Attempt{Status: 200}, attempts: 1, state: im.DeliveryDone},
		"299":               {attempt: im.Attempt{Status: 299}, attempts: 1, state: im.DeliveryDone},
		"400":               {attempt: im.Attempt{Status: 400}, attempts: 5, state: im.DeliverySkipped, fault: im.FaultRefused, atLeast: 7 * time.Second, atMost: 16 * time.Second},
		"404":               {attempt: im.Attempt{Status: 404}, attempts: 5, state: im.DeliverySkipped, fault: im.FaultRefused, atLeast: 7 * time.Second, atMost: 16 * time.Second},
		"410":               {attempt: im.Attempt{Status: 410}, attempts: 1, state: im.DeliveryRetrying, fault: im.FaultRefused, off: im.WebhookGone},
		"408":               {attempt: im.Attempt{Status: 408}, state: im.DeliveryRetrying, fault: im.FaultFailed, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"425":               {attempt: im.Attempt{Status: 425}, state: im.DeliveryRetrying, fault: im.FaultFailed, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"429 with a wait":   {attempt: im.Attempt{Status: 429, RetryAfter: 30 * time.Minute}, attempts: 145, state: im.DeliveryRetrying, fault: im.FaultFailed, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"429 for a year":    {attempt: im.Attempt{Status: 429, RetryAfter: 9000 * time.Hour}, attempts: 73, state: im.DeliveryRetrying, fault: im.FaultFailed, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"500":               {attempt: im.Attempt{Status: 500}, state: im.DeliveryRetrying, fault: im.FaultFailed, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"302":               {attempt: im.Attempt{Status: 302}, state: im.DeliveryRetrying, fault: im.FaultRedirected, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"101":               {attempt: im.Attempt{Status: 101}, state: im.DeliveryRetrying, fault: im.FaultFailed, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"a timeout":         {attempt: im.Attempt{Fault: im.FaultTimeout, Took: 15 * time.Second}, state: im.DeliveryRetrying, fault: im.FaultTimeout, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"200 without end":   {attempt: im.Attempt{Status: 200, Fault: im.FaultResponse}, state: im.DeliveryRetrying, fault: im.FaultResponse, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"410 without end":   {attempt: im.Attempt{Status: 410, Fault: im.FaultResponse}, state: im.DeliveryRetrying, fault: im.FaultResponse, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
		"a private address": {attempt: im.Attempt{Fault: im.FaultAddress}, state: im.DeliveryRetrying, fault: im.FaultAddress, off: im.WebhookFailing, atLeast: 72 * time.Hour, atMost: 73 * time.Hour},
	} {
		for _, random := range []float64{0, 0.5, 1} {
			w := im.Webhook{State: im.WebhookActive, WebhookProgress: im.WebhookProgress{Position: 6}}
			d := im.DeliveryOf(im.Event{Position: 7, Type: im.MessageCreated})
			n, now := 0, start
			for d.State == im.DeliveryRetrying && w.State == im.WebhookActive && n < 10_000 {
				if w.NextAttempt.After(now) {
					now = w.NextAttempt
				}
				tt.attempt.At = now
				n++
				w, d = w.After(d, tt.attempt, random)
			}
			took := now.Sub(start)
			if d.State != tt.state || d.Fault != tt.fault || w.Reason != tt.off || d.Attempts != n || tt.attempts > 0 && n != tt.attempts {
				t.Errorf("%s: after %d attempts %+v, webhook %+v", name, n, d, w)
			}
			if took < tt.atLeast || took > tt.atMost {
				t.Errorf("%s: it took %v, want %v to %v", name, took, tt.atLeast, tt.atMost)
			}
			done := d.State == im.DeliveryDone || d.State == im.DeliverySkipped
			if done != (w.Position == 7) || done && (w.Attempts != 0 || w.Refusals != 0 || !w.NextAttempt.IsZero()) {
				t.Errorf("%s: the delivery is %v, the webhook %+v", name, d.State, w)
			}
		}
	}
}

// A clock that is set back does not delay the next attempt.
func TestWebhookWait(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for next, want := range map[time.Time]time.Duration{
		now.Add(time.Minute): time.Minute, now.Add(time.Hour): time.Hour, now: 0, now.Add(-time.Second): -time.Second,
		now.Add(24 * time.Hour): 0,
	} {
		w := im.Webhook{WebhookProgress: im.WebhookProgress{NextAttempt: next}}
		if wait := w.Wait(now); wait != want {
			t.Errorf("attempt at %v: the wait is %v, want %v", next, wait, want)
		}
	}
	if wait := (im.Webhook{}).Wait(now); wait > 0 {
		t.Errorf("the wait before a first attempt is %v", wait)
	}
}

// A webhook whose events are all refused is turned off, too, and one delivery restarts the three
// days.
func TestWebhookPatience(t *testing.T) {
	t.Parallel()
	w := im.Webhook{State: im.WebhookActive}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	attempt := func(at im.Position, status int) {
		if w.NextAttempt.After(now) {
			now = w.NextAttempt
		}
		w, _ = w.After(im.DeliveryOf(im.Event{Position: at}), im.Attempt{At: now, Status: status}, 0)
	}
	for at := im.Position(1); at < 100; at++ {
		for w.Position < at && w.State == im.WebhookActive {
			attempt(at, 400)
		}
		if at == 50 {
			attempt(at, 200)
		}
		now = now.Add(time.Hour)
		if off := at >= 50+73; w.State == im.WebhookOff != off {
			if at < 73 && at != 72 || off {
				t.Fatalf("after %d events: %+v", at, w)
			}
		}
	}
	// A clock that jumps turns nothing off.
	w = im.Webhook{State: im.WebhookActive}
	attempt(1, 500)
	now = now.Add(1000 * time.Hour)
	attempt(1, 500)
	if w.State != im.WebhookActive {
		t.Error("a webhook is off after two attempts")
	}
}

func TestWebhookWants(t *testing.T) {
	t.Parallel()
	w := im.Webhook{ID: 7, Events: []im.EventType{im.MessageCreated, im.SpaceUpdated}, Kinds: []im.Kind{im.Direct}}
	for name, tt := range map[string]struct {
		of   im.Webhook
		e    im.Event
		kind im.Kind
		want bool
	}{
		"a listed type and kind":          {w, im.Event{Type: im.MessageCreated}, im.Direct, true},
		"another kind":                    {w, im.Event{Type: im.MessageCreated}, im.Group, false},
		"another type":                    {w, im.Event{Type: im.MessageRevoked}, im.Direct, false},
		"about a space":                   {w, im.Event{Type: im.SpaceUpdated}, im.Space, true},
		"a test of its own":               {w, im.Event{Type: im.WebhookTest, Webhook: 7}, 0, true},
		"a test of another":               {w, im.Event{Type: im.WebhookTest, Webhook: 8}, 0, false},
		"a gap of its own":                {w, im.Event{Type: im.WebhookGap, Webhook: 7}, 0, true},
		"another is off, not listed":      {w, im.Event{Type: im.WebhookDisabled, Webhook: 8}, 0, false},
		"without lists, a message":        {im.Webhook{}, im.Event{Type: im.MessageCreated}, im.Channel, true},
		"without lists, another is off":   {im.Webhook{}, im.Event{Type: im.WebhookDisabled, Webhook: 8}, 0, true},
		"without lists, a gap of another": {im.Webhook{}, im.Event{Type: im.WebhookGap, Webhook: 8}, 0, false},
	} {
		if got := tt.of.Wants(tt.e, tt.kind); got != tt.want {
			t.Errorf("%s: wanted %t, want %t", name, got, tt.want)
		}
	}
}

func TestWebhookDrafts(t *testing.T) {
	t.Parallel()
	policy := im.DefaultPolicy()
	policy.CheckWebhookURL = func(url string) error {
		if !strings.HasPrefix(url, "https://") {
			return errors.New("must begin with https://")
		}
		return nil
	}
	w := newWorldWith(t, policy)
	ctx := t.Context()
	good, bad := "https://app.example", "ftp://app.example"
	given := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24))
	for name, tt := range map[string]struct {
		actor im.Actor
		d     im.WebhookDraft
		code  string
	}{
		"by a user":      {im.Actor{User: "alice"}, im.WebhookDraft{URL: &good}, "admin_required"},
		"a bad URL":      {root, im.WebhookDraft{URL: &bad}, "webhook_url_refused"},
		"a bad event":    {root, im.WebhookDraft{URL: &good, Events: &[]im.EventType{"ready"}}, "invalid_request"},
		"no prefix":      {root, im.WebhookDraft{URL: &good, Secret: strings.TrimPrefix(given, "whsec_")}, "invalid_request"},
		"a short secret": {root, im.WebhookDraft{URL: &good, Secret: "whsec_AAAA"}, "invalid_request"},
		"no base64":      {root, im.WebhookDraft{URL: &good, Secret: "whsec_" + strings.Repeat("!", 40)}, "invalid_request"},
	} {
		_, err := w.CreateWebhook(ctx, tt.actor, tt.d)
		if e, ok := im.AsError(err); !ok || e.Code != tt.code {
			t.Errorf("%s: %v, want %s", name, err, tt.code)
		}
	}
	first, err := w.CreateWebhook(ctx, root, im.WebhookDraft{URL: &good, Secret: given})
	if err != nil || first.Secret != given {
		t.Fatal(first.Secret, err)
	}
	for n := 1; n < im.MaxWebhooks; n++ {
		if _, err := w.CreateWebhook(ctx, root, im.WebhookDraft{URL: &good}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.CreateWebhook(ctx, root, im.WebhookDraft{URL: &good})
	if e, ok := im.AsError(err); !ok || e.Code != "too_many_webhooks" {
		t.Errorf("one too many: %v", err)
	}

	// Rotating: both secrets sign for a day, then one; rotating twice keeps the last two.
	secrets := func() []string {
		t.Helper()
		all, _, err := w.ActiveWebhooks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Secrets
	}
	rotate := func(secret string) string {
		t.Helper()
		v, err := w.RotateWebhookSecret(ctx, root, first.ID, secret)
		if err != nil {
			t.Fatal(err)
		}
		return v.Secret
	}
	second := rotate("")
	w.equal("both", secrets(), []string{second, first.Secret})
	w.equal("the same again", rotate(second), second)
	w.equal("still both", secrets(), []string{second, first.Secret})
	third := rotate("")
	w.equal("the last two", secrets(), []string{third, second})
	w.pass(24 * time.Hour)
	w.equal("one", secrets(), []string{third})
	if n, err := w.ForgetPreviousSecrets(ctx); n != 1 || err != nil {
		t.Errorf("forgot %d secrets: %v", n, err)
	}
	if n, err := w.ForgetPreviousSecrets(ctx); n != 0 || err != nil {
		t.Errorf("forgot %d secrets again: %v", n, err)
	}
	w.equal("one is left", secrets(), []string{third})

	// Pausing and resuming keeps the position; an admin's move voids earlier progress.
	pause, resume := im.WebhookDraft{Active: new(false)}, im.WebhookDraft{Active: new(true)}
	paused, err := w.UpdateWebhook(ctx, root, first.ID, pause)
	if err != nil || paused.State != im.WebhookPaused {
		t.Fatal(paused.State, err)
	}
	_, err = w.TestWebhook(ctx, root, first.ID)
	if e, ok := im.AsError(err); !ok || e.Code != "webhook_inactive" {
		t.Errorf("a test of a paused webhook: %v", err)
	}
	resumed, err := w.UpdateWebhook(ctx, root, first.ID, resume)
	if err != nil || resumed.State != im.WebhookActive || resumed.Position != first.Position {
		t.Fatal(resumed, err)
	}
	stale := first.Webhook
	stale.Position += 100
	if found, err := w.SaveWebhook(ctx, stale, nil); !found || err != nil {
		t.Fatal(found, err)
	}
	now, err := w.Webhook(ctx, root, first.ID)
	if err != nil || now.Position != first.Position {
		t.Errorf("progress from before the resumption was stored: %+v, %v", now, err)
	}
	if err := w.DeleteWebhook(ctx, root, first.ID); err != nil {
		t.Fatal(err)
	}
	if found, err := w.SaveWebhook(ctx, now.Webhook, []im.WebhookDelivery{{Position: 1}}); found || err != nil {
		t.Errorf("progress of a deleted webhook: %t, %v", found, err)
	}
}

// An admin can request a delivery that was retrying when the webhook stopped wanting the event.
// Requesting one that will be made anyway only makes the attempt immediate.
func TestRedeliverOfARetriedEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url := "https://app.example"
	v, err := w.CreateWebhook(w.ctx, root, im.WebhookDraft{URL: &url})
	w.must(err)
	w.say("alice", direct("bob"), "hi")
	window, err := w.WebhookEvents(w.ctx, v.Webhook.ID, v.Position)
	w.must(err)
	refused, _ := v.After(im.DeliveryOf(window.Events[0]), im.Attempt{At: epoch, Status: 422}, 0)
	d := im.DeliveryOf(window.Events[0])
	w.must1(w.SaveWebhook(w.ctx, refused, []im.WebhookDelivery{d}))
	queued := func() int {
		t.Helper()
		list, err := w.QueuedDeliveries(w.ctx, v.ID, 10)
		w.must(err)
		return len(list)
	}

	v, err = w.Redeliver(w.ctx, root, v.ID, d.Position)
	w.must(err)
	if queued() != 0 || v.Moves != refused.Moves+1 || v.NextAttempt.After(w.clock()) {
		t.Errorf("delivered anyway: %d are queued, the webhook is %+v", queued(), v.Webhook)
	}
	events := []im.EventType{im.MessageRevoked}
	v, err = w.UpdateWebhook(w.ctx, root, v.ID, im.WebhookDraft{Events: &events})
	w.must(err)
	if v.Attempts != 0 || v.Refusals != 0 {
		t.Errorf("the attempts are left to the next event: %+v", v.Webhook)
	}
	w.must1(w.Redeliver(w.ctx, root, v.ID, d.Position))
	if queued() != 1 {
		t.Errorf("no longer wanted: %d are queued, want 1", queued())
	}
}
