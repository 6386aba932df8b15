package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

const (
	webhookColumns = `SELECT w.id, w.url, w.events, w.kinds, w.state, w.reason, w.created_at, w.updated_at, w.previous_until,
		w.log, w.pos, w.moves, w.attempts, w.refusals, w.next_attempt, w.failures, w.failing_since, w.delivered_at FROM webhooks w `
	selectWebhooks = webhookColumns + "ORDER BY w.id"
	selectWebhook  = webhookColumns + "WHERE w.id = ?"
	putWebhook     = `INSERT INTO webhooks (id, url, events, kinds, state, reason, created_at, updated_at, previous_until,
			log, pos, moves, attempts, refusals, next_attempt, failures, failing_since, delivered_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET url = excluded.url, events = excluded.events, kinds = excluded.kinds, state = excluded.state,
			reason = excluded.reason, updated_at = excluded.updated_at, previous_until = excluded.previous_until,
			log = excluded.log, pos = excluded.pos, moves = excluded.moves, attempts = excluded.attempts, refusals = excluded.refusals,
			next_attempt = excluded.next_attempt, failures = excluded.failures, failing_since = excluded.failing_since,
			delivered_at = excluded.delivered_at`
	putWebhookProgress = `UPDATE webhooks SET log = ?, pos = ?, moves = ?, attempts = ?, refusals = ?, next_attempt = ?,
		failures = ?, failing_since = ?, delivered_at = ? WHERE id = ?`
	selectWebhookSecrets = "SELECT slot, sealed FROM webhooks WHERE id = ?"
	putWebhookSecrets    = "UPDATE webhooks SET slot = ?, sealed = ? WHERE id = ?"
	deleteWebhook        = "DELETE FROM webhooks WHERE id = ?"

	deliveryColumns = `SELECT d.pos, d.type, d.at, d.conversation_id, d.message_id, d.state, d.attempts, d.first_at, d.last_at,
		d.status, d.fault, d.took FROM webhook_deliveries d `
	selectDelivery         = deliveryColumns + "WHERE d.webhook_id = ? AND d.pos = ?"
	selectDeliveries       = deliveryColumns + "WHERE d.webhook_id = ? AND d.pos < ? ORDER BY d.pos DESC LIMIT ?"
	selectDeliveriesIn     = deliveryColumns + "INDEXED BY webhook_deliveries_by_state WHERE d.webhook_id = ? AND d.pos < ? AND d.state = ? ORDER BY d.pos DESC LIMIT ?"
	putDelivery            = "INSERT OR REPLACE INTO webhook_deliveries (webhook_id, pos, type, at, conversation_id, message_id, state, attempts, first_at, last_at, status, fault, took) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	deleteWebhooksRecords  = "DELETE FROM webhook_deliveries WHERE webhook_id = ?"
	deleteOldestDeliveries = `DELETE FROM webhook_deliveries WHERE webhook_id = ?1 AND state = ?2 AND pos <
		(SELECT min(pos) FROM (SELECT pos FROM webhook_deliveries INDEXED BY webhook_deliveries_by_state
			WHERE webhook_id = ?1 AND state = ?2 ORDER BY pos DESC LIMIT ?3))`
)

func (r *reader) webhooks(query string, args ...any) (list []im.Webhook, err error) {
	err = r.session.query(query, args, func(rows row) (bool, error) {
		var w im.Webhook
		var events, kinds []byte
		var createdAt, updatedAt int64
		var previousUntil, nextAttempt, failingSince, deliveredAt sql.NullInt64
		err := rows.Scan(&w.ID, &w.URL, &events, &kinds, &w.State, &w.Reason, &createdAt, &updatedAt, &previousUntil,
			&w.Log, &w.Position, &w.Moves, &w.Attempts, &w.Refusals, &nextAttempt, &w.Failures, &failingSince, &deliveredAt)
		if err == nil {
			err = json.Unmarshal(events, &w.Events)
		}
		var numbers []int
		if err == nil {
			err = json.Unmarshal(kinds, &numbers)
		}
		for _, n := range numbers {
			w.Kinds = append(w.Kinds, im.Kind(n))
		}
		w.CreatedAt, w.UpdatedAt, w.PreviousUntil = fromMillis(createdAt), fromMillis(updatedAt), optionalTime(previousUntil)
		w.NextAttempt, w.FailingSince, w.DeliveredAt = optionalTime(nextAttempt), optionalTime(failingSince), optionalTime(deliveredAt)
		list = append(list, w)
		return true, err
	})
	return list, err
}

// Webhooks returns all webhooks in the order of their ids.
func (r *reader) Webhooks() ([]im.Webhook, error) { return r.webhooks(selectWebhooks) }

// Webhook returns a webhook.
func (r *reader) Webhook(id im.ID) (im.Webhook, error) {
	list, err := r.webhooks(selectWebhook, int64(id))
	if err != nil || len(list) == 0 {
		return im.Webhook{}, orNotFound(err)
	}
	return list[0], nil
}

// WebhookSecrets returns the secrets of a webhook. They are zero if there are none or if they
// cannot be unsealed, because their key is shredded or missing or they are damaged.
func (r *reader) WebhookSecrets(id im.ID) (secrets im.WebhookSecrets, err error) {
	var s sealedText
	if _, err := r.session.row(selectWebhookSecrets, []any{int64(id)}, &s.slot, &s.sealed); err != nil || !s.slot.Valid {
		return secrets, err
	}
	text, err := r.unseal(s.slot.Int64, s.sealed)
	switch {
	case errors.As(err, new(*im.ShreddedError)), errors.Is(err, errContent):
		return secrets, nil
	case err != nil:
		return secrets, err
	}
	if record.ReadSecrets(text, &secrets) != nil {
		return secrets, errContent // the cause may quote secrets
	}
	return secrets, nil
}

// Deliveries returns a page of deliveries of a webhook, the newest event first.
func (r *reader) Deliveries(q im.DeliveryQuery) ([]im.WebhookDelivery, error) {
	if q.State != 0 {
		return r.deliveries(selectDeliveriesIn, int64(q.Webhook), int64(q.Before), int64(q.State), q.Limit)
	}
	return r.deliveries(selectDeliveries, int64(q.Webhook), int64(q.Before), q.Limit)
}

// WebhookDelivery returns the delivery of an event to a webhook.
func (r *reader) WebhookDelivery(webhook im.ID, at im.Position) (im.WebhookDelivery, error) {
	list, err := r.deliveries(selectDelivery, int64(webhook), int64(at))
	if err != nil || len(list) == 0 {
		return im.WebhookDelivery{}, orNotFound(err)
	}
	return list[0], nil
}

func (r *reader) deliveries(query string, args ...any) (list []im.WebhookDelivery, err error) {
	err = r.session.query(query, args, func(rows row) (bool, error) {
		var d im.WebhookDelivery
		var at, took int64
		var first, last sql.NullInt64
		err := rows.Scan(&d.Position, &d.Type, &at, &d.Conversation, &d.Message, &d.State, &d.Attempts, &first, &last, &d.Status, &d.Fault, &took)
		d.At, d.First, d.Last, d.Took = fromMillis(at), optionalTime(first), optionalTime(last), time.Duration(took)*time.Millisecond
		list = append(list, d)
		return true, err
	})
	return list, err
}

// PutWebhook stores a webhook without its secrets.
func (t *tx) PutWebhook(w im.Webhook) error {
	events, err := json.Marshal(append([]im.EventType{}, w.Events...))
	if err != nil {
		return err
	}
	numbers := make([]int, len(w.Kinds))
	for i, k := range w.Kinds {
		numbers[i] = int(k)
	}
	kinds, err := json.Marshal(numbers)
	if err != nil {
		return err
	}
	t.webhooks = true
	_, err = t.session.exec(putWebhook, int64(w.ID), w.URL, string(events), string(kinds), int64(w.State), int64(w.Reason),
		w.CreatedAt.UnixMilli(), w.UpdatedAt.UnixMilli(), optionalMillis(w.PreviousUntil),
		int64(w.Log), int64(w.Position), w.Moves, w.Attempts, w.Refusals, optionalMillis(w.NextAttempt), w.Failures,
		optionalMillis(w.FailingSince), optionalMillis(w.DeliveredAt))
	return err
}

// PutWebhookProgress stores the progress of a webhook.
func (t *tx) PutWebhookProgress(id im.ID, p im.WebhookProgress) error {
	n, err := t.session.update(putWebhookProgress, int64(p.Log), int64(p.Position), p.Moves, p.Attempts, p.Refusals,
		optionalMillis(p.NextAttempt), p.Failures, optionalMillis(p.FailingSince), optionalMillis(p.DeliveredAt), int64(id))
	if err == nil && n == 0 {
		err = im.ErrNotFound
	}
	return err
}

// PutWebhookSecrets seals the secrets of a webhook, unless they are zero, and dooms the key of the
// previous ones.
func (t *tx) PutWebhookSecrets(id im.ID, secrets im.WebhookSecrets) error {
	var before, after sealedText
	found, err := t.session.row(selectWebhookSecrets, []any{int64(id)}, &before.slot, &before.sealed)
	if err != nil || !found {
		return orNotFound(err)
	}
	if secrets != (im.WebhookSecrets{}) {
		if after, err = t.sealText(string(record.Secrets(secrets))); err != nil {
			return err
		}
	}
	if before.slot.Valid {
		if err := t.doom(before.slot.Int64, im.ShredRemoved, 0); err != nil {
			return err
		}
	}
	t.webhooks = true
	return t.must(putWebhookSecrets, after.slot, after.sealed, int64(id))
}

// DeleteWebhook deletes a webhook, its deliveries and its secrets.
func (t *tx) DeleteWebhook(id im.ID) error {
	if err := t.PutWebhookSecrets(id, im.WebhookSecrets{}); err != nil {
		return err
	}
	if _, err := t.session.exec(deleteWebhooksRecords, int64(id)); err != nil {
		return err
	}
	return t.must(deleteWebhook, int64(id))
}

// PutDeliveries stores deliveries. It keeps the newest delivered and skipped ones, up to the
// numbers given for them.
func (t *tx) PutDeliveries(webhook im.ID, list []im.WebhookDelivery, delivered, skipped int) error {
	stored := map[im.DeliveryState]bool{}
	for _, d := range list {
		stored[d.State] = true
		if d.State == im.DeliveryQueued {
			t.webhooks = true
		}
		_, err := t.session.exec(putDelivery, int64(webhook), int64(d.Position), string(d.Type), d.At.UnixMilli(), int64(d.Conversation),
			int64(d.Message), int64(d.State), d.Attempts, optionalMillis(d.First), optionalMillis(d.Last), d.Status, int64(d.Fault), d.Took.Milliseconds())
		if err != nil {
			return err
		}
	}
	for state, keep := range map[im.DeliveryState]int{im.DeliveryDone: delivered, im.DeliverySkipped: skipped} {
		if !stored[state] {
			continue
		}
		if _, err := t.session.exec(deleteOldestDeliveries, int64(webhook), int64(state), keep); err != nil {
			return err
		}
	}
	return nil
}

const (
	// allEvents finds the positions and types of the events in a range of the log.
	allEvents   = "SELECT pos, type FROM events WHERE pos > ? AND pos <= ? ORDER BY pos LIMIT ?"
	selectEvent = "SELECT " + eventColumns + " FROM events e WHERE e.pos = ?"
)

// AllEvents returns the events of all users in a range of positions, of some types, or of all if
// none are given. It examines up to limit events, and decodes only those that it returns.
func (r *reader) AllEvents(after, upTo im.Position, types []im.EventType, limit int) (im.EventWindow, error) {
	w := im.EventWindow{Through: after}
	if after >= upTo || limit <= 0 {
		return w, nil
	}
	wanted := make(map[im.EventType]bool, len(types))
	for _, t := range types {
		wanted[t] = true
	}
	var found []im.Position
	n := 0
	err := r.session.query(allEvents, []any{int64(after), int64(upTo), limit}, func(rows row) (bool, error) {
		var at im.Position
		var typ im.EventType
		err := rows.Scan(&at, &typ)
		n++
		if w.Through = at; len(types) == 0 || wanted[typ] {
			found = append(found, at)
		}
		return true, err
	})
	if err != nil {
		return w, err
	}
	if n < limit {
		w.Through = upTo
	}
	for _, at := range found {
		e, err := r.EventAt(at)
		if err != nil {
			return w, err
		}
		w.Events = append(w.Events, e)
	}
	return w, nil
}

// EventAt returns the event at a position.
func (r *reader) EventAt(at im.Position) (e im.Event, err error) {
	found := false
	err = r.session.query(selectEvent, []any{int64(at)}, func(rows row) (bool, error) {
		found = true
		return false, r.scanEvent(rows, &e)
	})
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return e, err
}
