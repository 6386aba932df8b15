package im

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// This file is the server's side of webhooks: what package webhooks reads from the log and stores
// about its deliveries.

// webhookJob is the name of the job that delivers to webhooks.
const webhookJob = "webhooks"

// asWebhook returns a context for the work of one webhook. Webhooks share the store's time fairly,
// as other callers do.
func asWebhook(ctx context.Context, id ID) context.Context {
	return WithCaller(ctx, Caller{Job: webhookJob + " " + id.String()})
}

// ActiveWebhook is a webhook to which events are delivered, with the secrets that sign them.
type ActiveWebhook struct {
	Webhook
	Secrets []string
}

// ActiveWebhooks returns the active webhooks, and the number of the others by state. Any error is
// from the store.
func (s *Service) ActiveWebhooks(ctx context.Context) (list []ActiveWebhook, others map[WebhookState]int, err error) {
	ctx = WithCaller(ctx, Caller{Job: webhookJob})
	err = s.read(ctx, func(r Reader) error {
		list, others = nil, map[WebhookState]int{}
		all, err := r.Webhooks()
		if err != nil {
			return err
		}
		for _, w := range all {
			if w.State != WebhookActive {
				others[w.State]++
				continue
			}
			secrets, err := r.WebhookSecrets(w.ID)
			if err != nil {
				return err
			}
			a := ActiveWebhook{Webhook: w, Secrets: []string{secrets.Current}}
			if w.PreviousUntil.After(s.time()) && secrets.Previous != "" {
				a.Secrets = append(a.Secrets, secrets.Previous)
			}
			list = append(list, a)
		}
		return nil
	})
	return list, others, err
}

// ContinueWebhooks is called when the server starts. A webhook whose log ended with a restored
// backup gets a gap event; one without a secret is turned off. Any error is from the store.
func (s *Service) ContinueWebhooks(ctx context.Context) error {
	instance := s.store.Instance()
	return s.store.Write(WithCaller(ctx, Caller{Job: webhookJob}), func(tx Tx) error {
		all, err := tx.Webhooks()
		if err != nil {
			return err
		}
		for _, w := range all {
			secrets, err := tx.WebhookSecrets(w.ID)
			if err != nil {
				return err
			}
			lost := secrets.Current == "" && w.State != WebhookOff
			if w.Log == instance.Log && !lost {
				continue
			}
			if w.Log != instance.Log {
				if _, err := tx.Append(s.restoredGap(w, instance.PastLogs)); err != nil {
					return err
				}
				w.Log = instance.Log
			}
			if lost {
				if w, err = s.turnOff(tx, w, WebhookSecretLost); err != nil {
					return err
				}
			}
			if err := tx.PutWebhook(w); err != nil {
				return err
			}
		}
		return nil
	})
}

// restoredGap returns the gap event after the restore of a backup that lacks the events after the
// end of the webhook's log.
func (s *Service) restoredGap(w Webhook, past []PastLog) Event {
	e := Event{Type: WebhookGap, At: s.time(), Webhook: w.ID, Reason: WebhookRestored, After: w.Position}
	for _, log := range past {
		if log.Log == w.Log {
			e.After = log.Head
		}
	}
	return e
}

// turnOff returns the webhook turned off, and publishes that.
func (s *Service) turnOff(tx Tx, w Webhook, why WebhookReason) (Webhook, error) {
	w.State, w.Reason = WebhookOff, why
	_, err := tx.Append(Event{Type: WebhookDisabled, At: s.time(), Webhook: w.ID, Reason: why})
	return w, err
}

// ForgetPreviousSecrets erases the previous secrets whose time is over. Any error is from
// the store.
func (s *Service) ForgetPreviousSecrets(ctx context.Context) (n int, err error) {
	ctx = WithCaller(ctx, Caller{Job: webhookJob})
	over := func(w Webhook) bool { return !w.PreviousUntil.IsZero() && !w.PreviousUntil.After(s.time()) }
	all, err := view(ctx, s, Reader.Webhooks)
	if err != nil || !slices.ContainsFunc(all, over) {
		return 0, err
	}
	return write(ctx, s, func(tx Tx) (int, error) {
		n := 0
		all, err := tx.Webhooks()
		if err != nil {
			return 0, err
		}
		for _, w := range all {
			if !over(w) {
				continue
			}
			secrets, err := tx.WebhookSecrets(w.ID)
			if err != nil {
				return 0, err
			}
			w.PreviousUntil = time.Time{}
			if err := tx.PutWebhook(w); err != nil {
				return 0, err
			}
			if err := tx.PutWebhookSecrets(w.ID, WebhookSecrets{Current: secrets.Current}); err != nil {
				return 0, err
			}
			n++
		}
		return n, nil
	})
}

// webhookScan bounds the events of the log that one read for a webhook examines. An event
// that the webhook does not want costs a few microseconds.
const webhookScan = 1000

// WebhookWindow is the part of the log that a webhook gets next.
type WebhookWindow struct {
	// Events are in the order of the log, without their messages.
	Events []Event
	// Through is the position up to which the log was examined.
	Through Position
}

// WebhookEvents returns the events after a position that the webhook gets. The window may end
// early. If the log was trimmed past the position, the window is a gap event. There are no events
// if the webhook was deleted. Any error is from the store.
func (s *Service) WebhookEvents(ctx context.Context, webhook ID, after Position) (WebhookWindow, error) {
	return view(asWebhook(ctx, webhook), s, func(r Reader) (WebhookWindow, error) {
		// Read the filters here: the caller may not know yet that an admin has changed them, but
		// must not apply the old ones to later events.
		w, found, err := maybe(r.Webhook(webhook))
		if err != nil || !found {
			return WebhookWindow{Through: after}, err
		}
		bounds, err := r.LogBounds()
		if err != nil {
			return WebhookWindow{}, err
		}
		if after < bounds.Cut {
			gap := Event{Type: WebhookGap, Position: bounds.Cut, At: s.time(), Webhook: w.ID, Reason: WebhookTrimmed, After: after}
			return WebhookWindow{Events: []Event{gap}, Through: bounds.Cut}, nil
		}
		types := w.Events
		if len(types) > 0 {
			types = append(slices.Clip(types), WebhookTest, WebhookGap)
		}
		examined, err := r.AllEvents(after, bounds.Head, types, webhookScan)
		if err != nil {
			return WebhookWindow{}, err
		}
		out := WebhookWindow{Through: examined.Through}
		for _, e := range examined.Events {
			wanted, err := wants(r, w, e)
			if err != nil {
				return out, err
			}
			if wanted {
				out.Events = append(out.Events, e)
			}
		}
		return out, nil
	})
}

// WebhookEvent returns the event at a position; false if the log no longer has it. Any error is
// from the store.
func (s *Service) WebhookEvent(ctx context.Context, webhook ID, at Position) (Event, bool, error) {
	e, err := view(asWebhook(ctx, webhook), s, func(r Reader) (Event, error) { return r.EventAt(at) })
	return maybe(e, err)
}

// WebhookContent is the event with all that a webhook gets of it.
type WebhookContent struct {
	// Event has its message, as it can be read now, if it is about a new or an erased message.
	Event
	// Data is the push data of a message that was sent, nil without one.
	Data json.RawMessage
	// Offline names the recipients of a new message who are offline, nil for other events.
	Offline *Offline
}

// Offline are the recipients of a message who have no open stream and have not muted its
// conversation.
type Offline struct {
	// Users are the first of them, and Count is the number of all.
	Users []UserID
	Count int
	// Members is set if all members were considered, and not only those mentioned.
	Members bool
}

const (
	// mostRecipients is the number of members up to which all are considered recipients. In larger
	// conversations, and in rooms and channels of any size, only mentioned users are.
	mostRecipients = 2000
	// mostOffline is the maximum number of offline users that an event names.
	mostOffline = 500
)

// WebhookContent looks up what a webhook gets of an event now: a message that was erased in the
// meantime is a tombstone. It returns false if the event is not delivered because its message or
// conversation was deleted, because the message is past retention, or because the pre-send hook
// dropped it. offline returns the users in a list who have no open stream; it must not block. Any
// error is from the store.
func (s *Service) WebhookContent(ctx context.Context, webhook ID, e Event, offline func([]UserID) []UserID) (out WebhookContent, found bool, err error) {
	if e.MessageID == 0 {
		return WebhookContent{Event: e}, true, nil
	}
	err = s.read(asWebhook(ctx, webhook), func(r Reader) error {
		out, found = WebhookContent{Event: e}, false
		c, err := r.Conversation(e.Conversation)
		if err != nil || !c.DeletedAt.IsZero() {
			return err
		}
		m, there, err := maybe(r.Message(e.MessageID))
		if err != nil || !there || s.past(c, m) || m.isSendersAlone() {
			return err
		}
		found = true
		if e.Type != MessageCreated && !e.Type.Erases() {
			return nil
		}
		m = m.AsOf(s.time())
		out.Message = &m
		if m.Erased != nil && e.Type == MessageRevoked {
			out.Push = m.Erased.Push
		}
		if e.Type == MessageCreated && m.Content != nil {
			out.Data = m.Content.push()
			if m.VisibleTo == "" { // otherwise only its sender can see it
				out.Offline, err = s.offline(r, c, e, m, offline)
			}
		}
		return err
	})
	return out, found, err
}

// isSendersAlone reports whether only the sender can see the message, because the pre-send hook
// dropped it.
func (m *Message) isSendersAlone() bool { return m.VisibleTo != "" && m.VisibleTo == m.Sender }

// offline returns the recipients of a message who are offline.
func (s *Service) offline(r Reader, c Conversation, e Event, m Message, offline func([]UserID) []UserID) (*Offline, error) {
	out := &Offline{Members: c.MemberCount <= mostRecipients && (c.Kind == Direct || c.Kind == Group || c.Kind == Thread)}
	users := slices.Clone(m.Content.Mentions)
	if out.Members {
		members, err := r.Members(c.ID, Page{Limit: mostRecipients})
		if err != nil {
			return nil, err
		}
		users = make([]UserID, len(members))
		for i, member := range members {
			users[i] = member.User
		}
	}
	users = offline(slices.DeleteFunc(users, func(u UserID) bool { return u == m.Sender }))
	users, err := s.present(r, c, e, users)
	if err != nil || len(users) == 0 {
		return out, err
	}
	muting, err := r.Muting(c.ID, users)
	if err != nil {
		return nil, err
	}
	users = slices.DeleteFunc(users, func(u UserID) bool { return slices.Contains(muting, u) })
	out.Count, out.Users = len(users), users[:min(len(users), mostOffline)]
	return out, nil
}

// present returns the users in a list who could see a message when it was sent and are still
// members.
func (s *Service) present(r Reader, c Conversation, e Event, users []UserID) ([]UserID, error) {
	if len(users) == 0 {
		return nil, nil
	}
	var found []AudienceMember
	if c.Space != 0 {
		in, err := s.membersAt(r, c.ID, e.Position, users)
		if err != nil {
			return nil, err
		}
		found = in.Members
	} else {
		members, err := r.MembersAt(c.ID, e.Position, users)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			found = append(found, AudienceMember{User: m.User, Intervals: m.Intervals})
		}
	}
	out := make([]UserID, 0, len(found))
	for _, m := range found {
		if m.Intervals.Active() {
			out = append(out, m.User)
		}
	}
	slices.Sort(out)
	return out, nil
}

// QueuedDeliveries returns up to limit deliveries of a webhook that an admin has requested: those
// of the newest events, in the order of the log. Any error is from the store.
func (s *Service) QueuedDeliveries(ctx context.Context, webhook ID, limit int) ([]WebhookDelivery, error) {
	list, err := view(asWebhook(ctx, webhook), s, func(r Reader) ([]WebhookDelivery, error) {
		return r.Deliveries(DeliveryQuery{Webhook: webhook, State: DeliveryQueued, Before: Latest, Limit: limit})
	})
	slices.Reverse(list)
	return list, err
}

// SaveWebhook stores the progress of a webhook and deliveries since the previous call. If w is off
// and the stored webhook is active, that is stored and published, too. If an admin has moved the
// webhook in the meantime, only the deliveries are stored. SaveWebhook returns false if the webhook
// was deleted. Any error is from the store.
func (s *Service) SaveWebhook(ctx context.Context, w Webhook, list []WebhookDelivery) (found bool, err error) {
	ctx = withSize(asWebhook(ctx, w.ID), len(list))
	return write(ctx, s, func(tx Tx) (bool, error) {
		now, found, err := maybe(tx.Webhook(w.ID))
		if err != nil || !found {
			return false, err
		}
		switch {
		case now.Moves != w.Moves:
		case w.State == WebhookOff && now.State == WebhookActive:
			now.WebhookProgress = w.WebhookProgress
			if now, err = s.turnOff(tx, now, w.Reason); err == nil {
				err = tx.PutWebhook(now)
			}
		default:
			err = tx.PutWebhookProgress(w.ID, w.WebhookProgress)
		}
		if err == nil && len(list) > 0 {
			err = tx.PutDeliveries(w.ID, list, keptDelivered, keptSkipped)
		}
		if err == nil && now.Moves == w.Moves {
			err = skipPassed(tx, w)
		}
		return true, err
	})
}

// skipPassed stores deliveries as skipped that are stored as retrying although the webhook has
// passed them: those of events that it wanted when they were first attempted and no longer wants.
func skipPassed(tx Tx, w Webhook) error {
	passed, err := tx.Deliveries(DeliveryQuery{Webhook: w.ID, State: DeliveryRetrying, Before: w.Position + 1, Limit: keptSkipped})
	if err != nil || len(passed) == 0 {
		return err
	}
	for i := range passed {
		passed[i].State = DeliverySkipped
	}
	return tx.PutDeliveries(w.ID, passed, keptDelivered, keptSkipped)
}
