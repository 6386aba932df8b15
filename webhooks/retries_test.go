package webhooks_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
)

// A webhook that fails for three days is turned off, the others get an event about it, and it
// continues at its position once it is resumed.
func TestOffAfterThreeDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	failing := newReceiver(t, func(payload) int { return 503 })
	watching := newReceiver(t, nil)
	w.hook(watching.url, im.WebhookDisabled)
	id := w.hook(failing.url, im.MessageCreated).ID
	first := w.clock()
	w.say("one")
	w.expect(watching, "webhook.disabled failing")
	if took := w.clock().Sub(first); took < im.WebhookPatience || took > im.WebhookPatience+2*time.Hour {
		t.Errorf("it was turned off after %v", took)
	}
	v := w.stateOf(id)
	if v.State != im.WebhookOff || v.Reason != im.WebhookFailing {
		t.Errorf("the webhook is %+v", v)
	}
	list := w.deliveries(id, im.DeliveryRetrying)
	if len(list) != 1 || list[0].Status != 503 || list[0].Fault != im.FaultFailed || list[0].Attempts != len(failing.all()) {
		t.Errorf("%d requests, deliveries %+v", len(failing.all()), list)
	}
	if _, err := w.TestWebhook(w.ctx, root, id); err == nil {
		t.Error("a webhook that is off was tested")
	}
	w.say("two")
	tries := len(failing.all())
	failing.answer(nil)
	w.set(id, true)
	await.Until(w, "both events have been requested", func() bool { return len(failing.all()) == tries+2 })
	if got := failing.said()[tries:]; !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("after the resumption it got %q", got)
	}
}

// An event that is refused is skipped after five attempts, the others are delivered in order, and a
// redelivery sends it later, with the content at that time.
func TestSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, func(p payload) int {
		if p.Data.Message.Body.Text == "two" {
			return 422
		}
		return 200
	})
	hook := w.hook(r.url, im.MessageCreated)
	w.say("one")
	refused := w.say("two")
	w.say("three")
	w.expect(r, "one", "two", "two", "two", "two", "two", "three")
	await.Until(w, "it is listed", func() bool { return len(w.deliveries(hook.ID, im.DeliverySkipped)) == 1 })
	skipped := w.deliveries(hook.ID, im.DeliverySkipped)[0]
	if skipped.Attempts != 5 || skipped.Status != 422 || skipped.Fault != im.FaultRefused || skipped.Message != refused.ID {
		t.Errorf("it is listed as %+v", skipped)
	}
	ids := make(map[string]bool)
	for _, p := range r.all()[1:6] {
		ids[p.id] = true
	}
	if len(ids) != 1 {
		t.Errorf("the attempts have the ids %v", ids)
	}
	if _, err := w.Revoke(w.ctx, im.Actor{User: "alice"}, refused.ID, im.RevokeNote{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Redeliver(w.ctx, root, hook.ID, skipped.Position); err != nil {
		t.Fatal(err)
	}
	w.expect(r, "one", "two", "two", "two", "two", "two", "three", "message.created revoked")
	await.Until(w, "it is delivered", func() bool { return len(w.deliveries(hook.ID, im.DeliveryDone)) == 3 })
	if d := w.deliveries(hook.ID, im.DeliveryDone)[1]; d.Attempts != 6 || d.Position != skipped.Position {
		t.Errorf("the redelivery is listed as %+v", d)
	}
}

// A message that is deleted while its event is retried is left out, and the next event has all of
// its attempts.
func TestDeletedWhileRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var attempts int // used by one request at a time
	r := newReceiver(t, func(payload) int {
		if attempts++; attempts == 4 {
			if err := w.DeleteConversation(w.ctx, im.Actor{User: "alice"}, im.ConversationRef{Peer: "bob"}); err != nil {
				t.Error(err)
			}
		}
		return 422
	})
	hook := w.hook(r.url, im.MessageCreated)
	w.say("deleted")
	w.expect(r, "deleted", "deleted", "deleted", "deleted")
	w.say("next")
	w.expect(r, "deleted", "deleted", "deleted", "deleted", "next", "next", "next", "next", "next")
	await.Until(w, "both are skipped", func() bool { return len(w.deliveries(hook.ID, im.DeliverySkipped)) == 2 })
	for i, want := range []int{5, 4} {
		if d := w.deliveries(hook.ID, 0)[i]; d.State != im.DeliverySkipped || d.Attempts != want {
			t.Errorf("delivery %d is listed as %+v, want it skipped after %d attempts", i, d, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"failed": 8, "skipped": 1}, w.counted()); diff != "" {
		t.Errorf("requests by result (-want +got):\n%s", diff)
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, func(payload) int { return 410 })
	id := w.hook(r.url).ID
	w.say("one")
	await.Until(w, "it is off", func() bool { return w.stateOf(id).State == im.WebhookOff })
	if got := w.stateOf(id).Reason; got != im.WebhookGone || len(r.all()) != 1 {
		t.Errorf("it is off because it is %v, after %d requests", got, len(r.all()))
	}
}

// A paused webhook later gets erased messages as tombstones, and a gap event for events that the
// log has trimmed.
func TestPausedForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, nil)
	id := w.hook(r.url, im.MessageCreated).ID
	w.say("one")
	w.expect(r, "one")
	w.pause(id)
	erased := w.say("two")
	w.say("three")
	if _, err := w.Revoke(w.ctx, im.Actor{User: "alice"}, erased.ID, im.RevokeNote{}); err != nil {
		t.Fatal(err)
	}
	w.set(id, true)
	w.expect(r, "one", "message.created revoked", "three")

	w.pause(id)
	w.say("four")
	w.pass(8 * 24 * time.Hour)
	if n, err := w.TrimLog(w.ctx); n == 0 || err != nil {
		t.Fatalf("trimmed %d events: %v", n, err)
	}
	w.say("five")
	w.set(id, true)
	w.expect(r, "one", "message.created revoked", "three", "webhook.gap trimmed", "five")
	all := r.all()
	if gap := all[3]; gap.Data.After == "" {
		t.Errorf("the gap is after %q, the event before it is %s", gap.Data.After, all[2].id)
	}
	await.Until(w, "the gap is listed", func() bool {
		return slices.ContainsFunc(w.deliveries(id, im.DeliveryDone), func(d im.WebhookDelivery) bool { return d.Type == im.WebhookGap })
	})
	if _, err := w.RedeliverFrom(w.ctx, root, id, 1); err == nil {
		t.Error("events that were trimmed are delivered again")
	}
}
