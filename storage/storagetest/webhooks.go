package storagetest

import (
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

func testWebhooks(w *world) {
	commits := make(chan im.Commit, 100)
	w.store.OnCommit(func(c im.Commit) { commits <- c })
	full := im.Webhook{
		ID: 7, URL: "https://app.example/?a=b", Events: []im.EventType{im.MessageCreated, im.MemberAdded}, Kinds: []im.Kind{im.Direct, im.Room},
		State: im.WebhookOff, Reason: im.WebhookFailing, CreatedAt: epoch, UpdatedAt: epoch.Add(time.Second), PreviousUntil: epoch.Add(time.Hour),
		WebhookProgress: im.WebhookProgress{
			Log: 1<<32 - 1, Position: 42, Moves: 3, Attempts: 4, Refusals: 5, NextAttempt: epoch.Add(time.Minute),
			Failures: 6, FailingSince: epoch.Add(-time.Hour), DeliveredAt: epoch.Add(-time.Minute),
		},
	}
	plain := im.Webhook{ID: 5, URL: "https://b.example", State: im.WebhookActive, CreatedAt: epoch, UpdatedAt: epoch}
	for _, hook := range []im.Webhook{full, plain} {
		w.write(func(tx im.Tx) error { return tx.PutWebhook(hook) })
		w.equal("announced", (<-commits).Webhooks, true)
	}
	all := func() []im.Webhook { return read(w, im.Reader.Webhooks) }
	w.equal("by id", all(), []im.Webhook{plain, full})
	w.equal("one", read(w, func(r im.Reader) (im.Webhook, error) { return r.Webhook(7) }), full)

	plain.WebhookProgress = im.WebhookProgress{Log: 1, Position: 2, Moves: 3, Attempts: 4, Refusals: 5, NextAttempt: epoch, Failures: 6, FailingSince: epoch, DeliveredAt: epoch}
	w.write(func(tx im.Tx) error { return tx.PutWebhookProgress(5, plain.WebhookProgress) })
	full.State, full.URL, full.Events, full.PreviousUntil = im.WebhookPaused, "https://c.example", nil, time.Time{}
	w.write(func(tx im.Tx) error { return tx.PutWebhook(full) })
	w.equal("changed", all(), []im.Webhook{plain, full})

	secrets := func(id im.ID) im.WebhookSecrets {
		return read(w, func(r im.Reader) (im.WebhookSecrets, error) { return r.WebhookSecrets(id) })
	}
	w.equal("without secrets", secrets(7), im.WebhookSecrets{})
	for _, s := range []im.WebhookSecrets{{Current: "a"}, {Current: "b", Previous: "a"}, {Current: "b"}, {}} {
		w.write(func(tx im.Tx) error { return tx.PutWebhookSecrets(7, s) })
		w.equal("secrets", secrets(7), s)
		w.equal("of another", secrets(5), im.WebhookSecrets{})
	}
	missing := map[string]func(im.Tx) error{
		"new secrets": func(tx im.Tx) error { return tx.PutWebhookSecrets(9, im.WebhookSecrets{Current: "x"}) },
		"deletion":    func(tx im.Tx) error { return tx.DeleteWebhook(9) },
		"progress":    func(tx im.Tx) error { return tx.PutWebhookProgress(9, im.WebhookProgress{}) },
		"a webhook":   func(tx im.Tx) error { _, err := tx.Webhook(9); return err },
		"a delivery":  func(tx im.Tx) error { _, err := tx.WebhookDelivery(5, 1); return err },
		"an event":    func(tx im.Tx) error { _, err := tx.EventAt(1 << 40); return err },
	}
	for what, fn := range missing {
		w.notFound(what, w.store.Write(w.Context(), fn))
	}

	w.write(func(tx im.Tx) error {
		if err := tx.PutWebhookSecrets(7, im.WebhookSecrets{Current: "x"}); err != nil {
			return err
		}
		return tx.PutDeliveries(7, []im.WebhookDelivery{{Position: 1, State: im.DeliveryDone, At: epoch}}, 10, 10)
	})
	w.write(func(tx im.Tx) error { return tx.DeleteWebhook(7) })
	w.equal("left", all(), []im.Webhook{plain})
	w.equal("deliveries left", len(w.webhookDeliveries(im.DeliveryQuery{Webhook: 7, Before: im.Latest, Limit: 10})), 0)
	w.equal("secrets left", secrets(7), im.WebhookSecrets{})
}

func (w *world) webhookDeliveries(q im.DeliveryQuery) []im.WebhookDelivery {
	w.Helper()
	return read(w, func(r im.Reader) ([]im.WebhookDelivery, error) { return r.Deliveries(q) })
}

func testDeliveries(w *world) {
	w.write(func(tx im.Tx) error {
		for _, id := range []im.ID{5, 7} {
			if err := tx.PutWebhook(im.Webhook{ID: id, State: im.WebhookActive, CreatedAt: epoch, UpdatedAt: epoch}); err != nil {
				return err
			}
		}
		return nil
	})
	states := []im.DeliveryState{im.DeliveryDone, im.DeliverySkipped, im.DeliveryRetrying, im.DeliveryQueued}
	var all []im.WebhookDelivery // the newest first
	for at := im.Position(40); at > 0; at-- {
		d := im.WebhookDelivery{Position: at, Type: im.MemberAdded, At: epoch, State: states[at%4]}
		if at%3 == 0 {
			d.Conversation, d.Message, d.Attempts, d.First, d.Last = -3, 4, 5, epoch, epoch.Add(time.Second)
			d.Status, d.Fault, d.Took = 503, im.FaultFailed, 1500*time.Millisecond
		}
		all = append(all, d)
	}
	w.write(func(tx im.Tx) error { return tx.PutDeliveries(7, all, 100, 100) })
	for _, state := range append(states, 0) {
		for _, limit := range []int{1, 3, 100} {
			var got, want []im.WebhookDelivery
			for q := (im.DeliveryQuery{Webhook: 7, State: state, Before: im.Latest, Limit: limit}); ; {
				page := w.webhookDeliveries(q)
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				q.Before = page[limit-1].Position
			}
			for _, d := range all {
				if state == 0 || d.State == state {
					want = append(want, d)
				}
			}
			w.equal(fmt.Sprintf("%v by %d", state, limit), got, want)
		}
	}
	w.equal("of another webhook", len(w.webhookDeliveries(im.DeliveryQuery{Webhook: 5, Before: im.Latest, Limit: 9})), 0)
	w.equal("one", read(w, func(r im.Reader) (im.WebhookDelivery, error) { return r.WebhookDelivery(7, 39) }), all[1])

	// Only the oldest deliveries that were done or skipped are deleted, each state by its own limit.
	count := func(state im.DeliveryState) (n int, oldest im.Position) {
		list := w.webhookDeliveries(im.DeliveryQuery{Webhook: 7, State: state, Before: im.Latest, Limit: 100})
		return len(list), list[len(list)-1].Position
	}
	w.write(func(tx im.Tx) error {
		return tx.PutDeliveries(7, []im.WebhookDelivery{{Position: 41, State: im.DeliveryDone, At: epoch}, {Position: 2, State: im.DeliverySkipped, At: epoch}}, 3, 5)
	})
	for state, want := range map[im.DeliveryState][2]int64{im.DeliveryDone: {3, 36}, im.DeliverySkipped: {5, 21}, im.DeliveryRetrying: {9, 6}, im.DeliveryQueued: {10, 3}} {
		n, oldest := count(state)
		w.equal("kept of "+state.String(), [2]int64{int64(n), int64(oldest)}, want)
	}
}

func testAllEvents(w *world) {
	group := w.group(im.HistoryAll, "alice", "bob")
	types := []im.EventType{im.MemberAdded, im.MemberUpdated, im.UnreadChanged}
	before := w.bounds().Head
	for i := range 30 {
		w.write(func(tx im.Tx) error {
			e := im.Event{Type: types[i%3], At: w.tick(), Conversation: group, Actor: "alice", User: "bob"}
			if i%3 == 2 {
				e.To = "alice"
			}
			if i == 29 {
				e = im.Event{Type: im.WebhookTest, At: w.tick(), Webhook: 9}
			}
			_, err := tx.Append(e)
			return err
		})
	}
	head := w.bounds().Head
	eventsIn := func(after, upTo im.Position, types []im.EventType, limit int) im.EventWindow {
		return read(w, func(r im.Reader) (im.EventWindow, error) { return r.AllEvents(after, upTo, types, limit) })
	}
	for _, limit := range []int{1, 7, 30, 100} {
		for _, wanted := range [][]im.EventType{nil, {im.MemberUpdated}, {im.WebhookTest, im.UnreadChanged}, {im.RoleCreated}} {
			var got []im.EventType
			n := 0
			for after := before; after < head; n++ {
				window := eventsIn(after, head, wanted, limit)
				if window.Through <= after || window.Through > head || len(window.Events) > limit {
					w.Fatalf("from %d: %+v", after, window)
				}
				for _, e := range window.Events {
					got = append(got, e.Type)
					w.equal("one", read(w, func(r im.Reader) (im.Event, error) { return r.EventAt(e.Position) }), e)
				}
				after = window.Through
			}
			var want []im.EventType
			for i := range 30 {
				typ := types[i%3]
				if i == 29 {
					typ = im.WebhookTest
				}
				for _, t := range wanted {
					if t == typ {
						want = append(want, typ)
					}
				}
				if wanted == nil {
					want = append(want, typ)
				}
			}
			w.equal(fmt.Sprint(wanted, " by ", limit), got, want)
		}
	}
	w.equal("an empty range", eventsIn(head, head, nil, 10), im.EventWindow{Through: head})
	// No user receives an event about a webhook.
	all, _ := w.events("alice", before, head, 100)
	for _, e := range all {
		if e.Type.OfWebhooks() {
			w.Errorf("alice receives %s", e.Type)
		}
	}
}
