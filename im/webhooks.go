package im

import (
	"context"
	"time"
)

// WebhookView is a webhook as admins see it.
type WebhookView struct {
	Webhook
	// Secret is its secret right after that was created or replaced, otherwise "".
	Secret string
	// Head is the position of the newest event in the log.
	Head Position
}

func errUnknownWebhook() error {
	return Refuse(NotFound, "webhook_not_found", "no such webhook")
}

// enterWebhook returns a webhook. It refuses an actor who is not an admin and a webhook that
// does not exist.
func enterWebhook(r Reader, actor Actor, id ID) (Webhook, error) {
	if !actor.Admin {
		return Webhook{}, errNotAdmin()
	}
	w, found, err := maybe(r.Webhook(id))
	if err == nil && !found {
		err = errUnknownWebhook()
	}
	return w, err
}

// viewWebhook returns the webhook for an admin.
func (s *Service) viewWebhook(w Webhook) WebhookView {
	if !w.PreviousUntil.After(s.time()) {
		w.PreviousUntil = time.Time{}
	}
	return WebhookView{Webhook: w, Head: max(s.store.Head(), w.Position)}
}

// Webhooks returns all webhooks in the order of their ids. It refuses an actor who is not an admin.
func (s *Service) Webhooks(ctx context.Context, actor Actor) ([]WebhookView, error) {
	if !actor.Admin {
		return nil, errNotAdmin()
	}
	all, err := view(ctx, s, Reader.Webhooks)
	list := make([]WebhookView, len(all))
	for i, w := range all {
		list[i] = s.viewWebhook(w)
	}
	return list, err
}

// Webhook returns a webhook. It refuses an actor who is not an admin. Like the other methods in
// this file that take the id of a webhook, it also refuses an unknown id.
func (s *Service) Webhook(ctx context.Context, actor Actor, id ID) (WebhookView, error) {
	w, err := view(ctx, s, func(r Reader) (Webhook, error) { return enterWebhook(r, actor, id) })
	return s.viewWebhook(w), err
}

// CreateWebhook creates a webhook that begins with the next event. It refuses an actor who is
// not an admin, a malformed or refused draft, and more than [MaxWebhooks].
func (s *Service) CreateWebhook(ctx context.Context, actor Actor, d WebhookDraft) (WebhookView, error) {
	if !actor.Admin {
		return WebhookView{}, errNotAdmin()
	}
	if err := d.check(s.policy); err != nil {
		return WebhookView{}, err
	}
	secret := d.Secret
	if secret == "" {
		secret = newSecret()
	}
	w, err := write(ctx, s, func(tx Tx) (Webhook, error) {
		there, err := tx.Webhooks()
		if err != nil {
			return Webhook{}, err
		}
		if len(there) >= MaxWebhooks {
			return Webhook{}, Refuse(Rule, "too_many_webhooks", "a server has at most %d webhooks", MaxWebhooks)
		}
		bounds, err := tx.LogBounds()
		if err != nil {
			return Webhook{}, err
		}
		now := s.time()
		w := d.apply(Webhook{ID: s.ids.Next(now), State: WebhookActive, CreatedAt: now, UpdatedAt: now})
		w.WebhookProgress = WebhookProgress{Log: s.store.Instance().Log, Position: bounds.Head}
		if err := tx.PutWebhook(w); err != nil {
			return Webhook{}, err
		}
		return w, tx.PutWebhookSecrets(w.ID, WebhookSecrets{Current: secret})
	})
	v := s.viewWebhook(w)
	v.Secret = secret
	return v, err
}

// UpdateWebhook changes, pauses or resumes a webhook. It refuses an actor who is not an
// admin, a malformed or refused draft, and resuming a webhook without a secret.
func (s *Service) UpdateWebhook(ctx context.Context, actor Actor, id ID, d WebhookDraft) (WebhookView, error) {
	if !actor.Admin {
		return WebhookView{}, errNotAdmin()
	}
	if err := d.check(s.policy); err != nil {
		return WebhookView{}, err
	}
	w, err := write(ctx, s, func(tx Tx) (Webhook, error) {
		w, err := enterWebhook(tx, actor, id)
		if err != nil {
			return w, err
		}
		if d.Active != nil && *d.Active && w.State != WebhookActive {
			secrets, err := tx.WebhookSecrets(id)
			if err != nil {
				return w, err
			}
			if secrets.Current == "" {
				return w, Refuse(Conflict, "webhook_secret_lost", "the secret is lost: replace it first")
			}
		}
		w = d.apply(w)
		w.UpdatedAt = s.time()
		return w, tx.PutWebhook(w)
	})
	return s.viewWebhook(w), err
}

// DeleteWebhook deletes a webhook. It refuses an actor who is not an admin.
func (s *Service) DeleteWebhook(ctx context.Context, actor Actor, id ID) error {
	return s.store.Write(ctx, func(tx Tx) error {
		if _, err := enterWebhook(tx, actor, id); err != nil {
			return err
		}
		return tx.DeleteWebhook(id)
	})
}

// RotateWebhookSecret replaces the secret of a webhook; "" generates one. For a day, requests are
// also signed with the previous secret. It refuses an actor who is not an admin and a malformed
// secret.
func (s *Service) RotateWebhookSecret(ctx context.Context, actor Actor, id ID, secret string) (WebhookView, error) {
	if !actor.Admin {
		return WebhookView{}, errNotAdmin()
	}
	if err := (WebhookDraft{Secret: secret}).check(s.policy); err != nil {
		return WebhookView{}, err
	}
	if secret == "" {
		secret = newSecret()
	}
	w, err := write(ctx, s, func(tx Tx) (Webhook, error) {
		w, err := enterWebhook(tx, actor, id)
		if err != nil {
			return w, err
		}
		before, err := tx.WebhookSecrets(id)
		if err != nil {
			return w, err
		}
		if before.Current == secret { // the request is a repetition
			return w, nil
		}
		w.UpdatedAt, w.PreviousUntil = s.time(), time.Time{}
		if before.Current != "" {
			w.PreviousUntil = w.UpdatedAt.Add(secretOverlap)
		}
		if err := tx.PutWebhook(w); err != nil {
			return w, err
		}
		return w, tx.PutWebhookSecrets(id, WebhookSecrets{Current: secret, Previous: before.Current})
	})
	v := s.viewWebhook(w)
	v.Secret = secret
	return v, err
}

func errInactive() error {
	return Refuse(Conflict, "webhook_inactive", "the webhook is paused or off: resume it first")
}

// TestWebhook publishes a test event for a webhook and returns its position. It refuses an
// actor who is not an admin and a webhook that is not active.
func (s *Service) TestWebhook(ctx context.Context, actor Actor, id ID) (Position, error) {
	return write(ctx, s, func(tx Tx) (Position, error) {
		w, err := enterWebhook(tx, actor, id)
		if err != nil {
			return 0, err
		}
		if w.State != WebhookActive {
			return 0, errInactive()
		}
		return tx.Append(Event{Type: WebhookTest, At: s.time(), Webhook: id})
	})
}

// WebhookDeliveries returns a page of the deliveries of a webhook. It refuses an actor who
// is not an admin.
func (s *Service) WebhookDeliveries(ctx context.Context, actor Actor, q DeliveryQuery) ([]WebhookDelivery, error) {
	return view(ctx, s, func(r Reader) ([]WebhookDelivery, error) {
		if _, err := enterWebhook(r, actor, q.Webhook); err != nil {
			return nil, err
		}
		return r.Deliveries(q)
	})
}

// Redeliver requests another delivery of an event, with a single attempt and out of order. If the
// event is still being retried, it only brings the next attempt forward to now. It refuses an
// actor who is not an admin, an unknown delivery, an event that the log no longer has, and
// a webhook that is not active.
func (s *Service) Redeliver(ctx context.Context, actor Actor, id ID, at Position) (WebhookView, error) {
	w, err := write(ctx, s, func(tx Tx) (Webhook, error) {
		w, err := enterWebhook(tx, actor, id)
		if err != nil {
			return w, err
		}
		d, found, err := maybe(tx.WebhookDelivery(id, at))
		if err != nil {
			return w, err
		}
		if !found {
			return w, Refuse(NotFound, "delivery_not_found", "the webhook has no such delivery")
		}
		e, found, err := maybe(tx.EventAt(at))
		if err != nil || !found {
			return w, orGone(err)
		}
		wanted, err := wants(tx, w, e)
		if err != nil {
			return w, err
		}
		switch {
		case w.State != WebhookActive:
			return w, errInactive()
		case d.State == DeliveryRetrying && at > w.Position && wanted: // it will be delivered anyway
			w.NextAttempt = s.time()
			w.Moves++
			return w, tx.PutWebhook(w)
		default:
			d.State = DeliveryQueued
			return w, tx.PutDeliveries(id, []WebhookDelivery{d}, keptDelivered, keptSkipped)
		}
	})
	return s.viewWebhook(w), err
}

// wants reports whether a webhook gets an event.
func wants(r ConversationReader, w Webhook, e Event) (bool, error) {
	if len(w.Kinds) == 0 || e.Conversation == 0 {
		return w.Wants(e, 0), nil
	}
	c, err := r.Conversation(e.Conversation)
	return err == nil && w.Wants(e, c.Kind), err
}

// orGone returns err if it is not nil, and otherwise the refusal of an event that was trimmed.
func orGone(err error) error {
	if err != nil {
		return err
	}
	return errEventGone()
}

func errEventGone() error { return Refuse(Gone, "event_gone", "the log no longer has this event") }

// RedeliverFrom moves a webhook back, so that the events from a position on are delivered again. It
// refuses an actor who is not an admin, and a position that the log does not have.
func (s *Service) RedeliverFrom(ctx context.Context, actor Actor, id ID, from Position) (WebhookView, error) {
	w, err := write(ctx, s, func(tx Tx) (Webhook, error) {
		w, err := enterWebhook(tx, actor, id)
		if err != nil {
			return w, err
		}
		bounds, err := tx.LogBounds()
		if err != nil {
			return w, err
		}
		if from <= bounds.Cut || from > bounds.Head {
			return w, errEventGone()
		}
		w.Position = min(w.Position, from-1)
		w.again()
		return w, tx.PutWebhook(w)
	})
	return s.viewWebhook(w), err
}
