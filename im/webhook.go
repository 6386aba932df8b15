package im

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// A webhook is a durable reader of the event log: it has a position of its own, and the
// events after it are delivered by HTTP, in order. There is no other queue. This file has
// the types and the rules; the package webhooks makes the requests.

// Events about webhooks. Only webhooks receive them.
const (
	// WebhookDisabled is published when a webhook is turned off.
	WebhookDisabled EventType = "webhook.disabled"
	// WebhookGap is published when a webhook has lost events.
	WebhookGap EventType = "webhook.gap"
	// WebhookTest is published at the request of an admin.
	WebhookTest EventType = "webhook.test"
)

// OfWebhooks reports whether the event is about a webhook. Only webhooks receive it.
func (t EventType) OfWebhooks() bool {
	return t == WebhookDisabled || t == WebhookGap || t == WebhookTest
}

// Webhook is an endpoint of the application that receives events.
type Webhook struct {
	ID  ID
	URL string
	// Events and Kinds are the types of events, and the kinds of their conversations, that it gets;
	// empty means all.
	Events []EventType
	Kinds  []Kind
	State  WebhookState
	// Reason is the reason why it is off.
	Reason    WebhookReason
	CreatedAt time.Time
	UpdatedAt time.Time
	// PreviousUntil is the time until which requests are also signed with the previous secret; zero
	// if there is none.
	PreviousUntil time.Time
	WebhookProgress
}

// WebhookSecrets sign requests. Each begins with whsec_, as the Standard Webhooks
// specification says; "" is none.
type WebhookSecrets struct{ Current, Previous string }

// WebhookProgress is how far delivery to a webhook has progressed.
type WebhookProgress struct {
	// Position is the last event that was delivered or skipped, in the log with the id Log.
	Log      uint32
	Position Position
	// Moves counts how often an admin has set the position, resumed the webhook, changed its URL,
	// Events or Kinds, or requested an immediate attempt. The outcome of an attempt that began
	// before the latest of these is void.
	Moves int64
	// Attempts and Refusals count for the next event. NextAttempt is when it is
	// attempted again, zero for at once.
	Attempts, Refusals int
	NextAttempt        time.Time
	// Failures is the number of failed attempts since the last delivery, or since an admin last
	// moved, resumed or changed the webhook if that was later. FailingSince is the time of the first
	// of them, zero if there is none.
	Failures     int
	FailingSince time.Time
	// DeliveredAt is the time of the last delivery, zero if there was none.
	DeliveredAt time.Time
}

// WebhookState is whether events are delivered to a webhook, and if not, why.
type WebhookState uint8

// The states. Their numbers are stored.
const (
	WebhookActive WebhookState = iota + 1
	// WebhookPaused was paused by an admin.
	WebhookPaused
	// WebhookOff was turned off by the server.
	WebhookOff
)

var webhookStates = names[WebhookState]{WebhookActive: "active", WebhookPaused: "paused", WebhookOff: "off"}

// String returns the name of the state.
func (s WebhookState) String() string { return webhookStates[s] }

// WebhookReason is the reason why a webhook is off or has lost events.
type WebhookReason uint8

// The reasons. Their numbers are stored.
const (
	// WebhookFailing: nothing was delivered for [WebhookPatience].
	WebhookFailing WebhookReason = iota + 1
	// WebhookGone: the endpoint answered 410.
	WebhookGone
	// WebhookSecretLost: its secrets cannot be unsealed, because a backup was restored.
	WebhookSecretLost
	// WebhookTrimmed: the log had trimmed events before they were delivered.
	WebhookTrimmed
	// WebhookRestored: a backup was restored, which does not have all events.
	WebhookRestored
)

var webhookReasons = names[WebhookReason]{
	WebhookFailing: "failing", WebhookGone: "gone", WebhookSecretLost: "secret_lost",
	WebhookTrimmed: "trimmed", WebhookRestored: "restored",
}

// String returns the name of the reason, "" for 0.
func (r WebhookReason) String() string { return webhookReasons[r] }

// WebhookDelivery is the record of the delivery of an event to a webhook. It has no content.
type WebhookDelivery struct {
	Position     Position
	Type         EventType
	At           time.Time // of the event
	Conversation ID
	Message      ID
	State        DeliveryState
	// Attempts is the number of requests, First and Last are the times of the first and the
	// last one; zero before the first.
	Attempts    int
	First, Last time.Time
	// Status is the HTTP status of the last answer, 0 without one, Fault what was wrong with the
	// last attempt, and Took its duration.
	Status int
	Fault  DeliveryFault
	Took   time.Duration
}

// DeliveryState is the state of a delivery.
type DeliveryState uint8

// The states. Their numbers are stored.
const (
	DeliveryDone DeliveryState = iota + 1
	// DeliveryRetrying means that the last attempt failed and that there will be another one.
	DeliveryRetrying
	// DeliverySkipped means that there will be no further attempt.
	DeliverySkipped
	// DeliveryQueued means that an admin has requested another delivery.
	DeliveryQueued
)

var deliveryStates = names[DeliveryState]{DeliveryDone: "delivered", DeliveryRetrying: "retrying", DeliverySkipped: "skipped", DeliveryQueued: "queued"}

// String returns the name of the state.
func (s DeliveryState) String() string { return deliveryStates[s] }

// ParseDeliveryState parses the result of [DeliveryState.String].
func ParseDeliveryState(s string) (DeliveryState, bool) { return deliveryStates.parse(s) }

// DeliveryFault is what was wrong with an attempt.
type DeliveryFault uint8

// The faults. Their numbers are stored.
const (
	// FaultRefused: a status of 4xx, but not 408, 425 or 429. After a few of these the event is
	// skipped.
	FaultRefused DeliveryFault = iota + 1
	// FaultFailed: any other status but 2xx and 3xx.
	FaultFailed
	// FaultRedirected: a status of 3xx, which is not followed.
	FaultRedirected
	FaultTimeout
	FaultUnreachable
	// FaultAddress: the address is private.
	FaultAddress
	// FaultResponse: the answer is not HTTP, or too long.
	FaultResponse
)

var deliveryFaults = names[DeliveryFault]{
	FaultRefused: "refused", FaultFailed: "failed", FaultRedirected: "redirected", FaultTimeout: "timeout",
	FaultUnreachable: "unreachable", FaultAddress: "address_refused", FaultResponse: "bad_response",
}

// String returns the name of the fault, "" for none.
func (f DeliveryFault) String() string { return deliveryFaults[f] }

// Attempt is one request to a webhook, and its outcome.
type Attempt struct {
	At   time.Time
	Took time.Duration
	// Status is the HTTP status of the answer, 0 without one.
	Status int
	// Fault is what was wrong other than the status.
	Fault DeliveryFault
	// RetryAfter is the wait that the answer asks for, 0 if it asks for none.
	RetryAfter time.Duration
}

// fault returns what was wrong with the attempt, 0 if it was a delivery.
func (a Attempt) fault() DeliveryFault {
	switch {
	case a.Fault != 0:
		return a.Fault
	case a.Status >= 200 && a.Status <= 299:
		return 0
	case a.Status >= 300 && a.Status <= 399:
		return FaultRedirected
	case a.Status == 408 || a.Status == 425 || a.Status == 429: // they ask for another attempt
		return FaultFailed
	case a.Status >= 400 && a.Status <= 499:
		return FaultRefused
	default:
		return FaultFailed
	}
}

const (
	// MaxWebhooks is the maximum number of webhooks of a server. Each has a goroutine, a connection
	// and an event in memory.
	MaxWebhooks = 32
	// WebhookPatience is the time that a webhook may fail, without a delivery, before it is turned
	// off. It must also have failed leastFailures times, because the clock may have jumped.
	WebhookPatience = 3 * day
	leastFailures   = 20
	// webhookRefusals is the number of refusals after which an event is skipped.
	webhookRefusals = 5
	// secretOverlap is the time for which requests are still signed with the previous secret, too.
	secretOverlap = day

	// The wait after a failed attempt doubles up to mostBackoff. Events are delivered in
	// order, so a longer wait would delay all of them after the endpoint has recovered.
	firstBackoff = time.Second
	mostBackoff  = 5 * time.Minute
	// mostRetryAfter bounds the wait that an endpoint may ask for.
	mostRetryAfter = time.Hour

	// The numbers of delivered and skipped deliveries of a webhook that are kept.
	keptDelivered = 1000
	keptSkipped   = 10_000
)

// backoff returns the wait after a number of failed attempts. random is from 0 to 1.
func (a Attempt) backoff(attempts int, random float64) time.Duration {
	wait := mostBackoff
	if attempts < 10 {
		wait = min(firstBackoff<<(attempts-1), mostBackoff)
	}
	wait = wait/2 + time.Duration(random*float64(wait/2))
	return max(wait, min(a.RetryAfter, mostRetryAfter))
}

// After returns the webhook and the delivery of its next event after an attempt. The position of
// the webhook passes the event once the event is delivered or skipped. The webhook is off if the
// endpoint is gone or has failed for too long. random, from 0 to 1, spreads the next attempts of
// several webhooks.
func (w Webhook) After(d WebhookDelivery, a Attempt, random float64) (Webhook, WebhookDelivery) {
	d = d.after(a)
	w.Attempts++
	if d.Fault == 0 {
		w.Pass(d.Position)
		w.Failures, w.FailingSince, w.DeliveredAt = 0, time.Time{}, a.At
		return w, d
	}
	if w.Failures++; w.FailingSince.IsZero() {
		w.FailingSince = a.At
	}
	if d.Fault == FaultRefused {
		w.Refusals++
	}
	w.NextAttempt = a.At.Add(a.Took + a.backoff(w.Attempts, random))
	switch {
	case a.Status == 410 && a.Fault == 0:
		w.State, w.Reason = WebhookOff, WebhookGone
	case w.Failures >= leastFailures && a.At.Sub(w.FailingSince) >= WebhookPatience:
		w.State, w.Reason = WebhookOff, WebhookFailing
	case w.Refusals >= webhookRefusals:
		d.State = DeliverySkipped
		w.Pass(d.Position)
	}
	return w, d
}

// Wait returns the wait before the next attempt, 0 or less if it is due. No wait is longer than two
// hours: a later time was set before the clock was set back, and counts as over.
func (w Webhook) Wait(now time.Time) time.Duration {
	if wait := w.NextAttempt.Sub(now); wait <= 2*mostRetryAfter {
		return wait
	}
	return 0
}

// Pass makes the event after a position the next one, before its first attempt.
func (w *Webhook) Pass(at Position) {
	w.Position, w.Attempts, w.Refusals, w.NextAttempt = at, 0, 0, time.Time{}
}

// after returns the delivery after an attempt. It will be retried if the attempt has failed.
func (d WebhookDelivery) after(a Attempt) WebhookDelivery {
	d.Attempts, d.Last, d.Status, d.Took, d.Fault = d.Attempts+1, a.At, a.Status, a.Took, a.fault()
	if d.First.IsZero() {
		d.First = a.At
	}
	d.State = DeliveryDone
	if d.Fault != 0 {
		d.State = DeliveryRetrying
	}
	return d
}

// Redelivered returns a delivery that an admin requested, as its only attempt leaves it.
func (d WebhookDelivery) Redelivered(a Attempt) WebhookDelivery {
	if d = d.after(a); d.State == DeliveryRetrying {
		d.State = DeliverySkipped
	}
	return d
}

// DeliveryOf returns the delivery of an event before its first attempt.
func DeliveryOf(e Event) WebhookDelivery {
	return WebhookDelivery{Position: e.Position, Type: e.Type, At: e.At, Conversation: e.Conversation, Message: e.MessageID, State: DeliveryRetrying}
}

// Wants reports whether the webhook gets an event in a conversation of a kind, which is 0 for an
// event without a conversation.
func (w Webhook) Wants(e Event, kind Kind) bool {
	switch e.Type {
	case WebhookTest, WebhookGap:
		return e.Webhook == w.ID
	default:
		return (len(w.Events) == 0 || slices.Contains(w.Events, e.Type)) &&
			(len(w.Kinds) == 0 || kind == 0 || kind == Space || slices.Contains(w.Kinds, kind))
	}
}

// WebhookDraft is what an admin sets of a webhook. In a change, nil keeps the present value.
type WebhookDraft struct {
	URL    *string
	Events *[]EventType
	Kinds  *[]Kind
	// Active resumes the webhook, or pauses it. It is ignored for a new webhook.
	Active *bool
	// Secret is the first secret of a new webhook; if it is "" the server generates one.
	Secret string
}

// check refuses a malformed draft, and a URL that the policy does not allow.
func (d WebhookDraft) check(p Policy) error {
	if d.Secret != "" && !validSecret(d.Secret) {
		return RefuseField(Invalid, "invalid_request", "secret", "must be whsec_ and 24 to 64 bytes in base64")
	}
	if d.Events != nil {
		for i, t := range *d.Events {
			if !slices.Contains(EventTypes, t) && t != WebhookDisabled {
				return RefuseField(Invalid, "invalid_request", "events", "has an unknown type of event at index %d", i)
			}
		}
	}
	if d.URL != nil && p.CheckWebhookURL != nil {
		if err := p.CheckWebhookURL(*d.URL); err != nil {
			return RefuseField(Rule, "webhook_url_refused", "url", "%s", err.Error())
		}
	}
	return nil
}

const secretPrefix = "whsec_"

func validSecret(s string) bool {
	text, found := strings.CutPrefix(s, secretPrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	return found && err == nil && len(b) >= 24 && len(b) <= 64
}

func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

// apply returns the webhook with the changes of a draft.
func (d WebhookDraft) apply(w Webhook) Webhook {
	if d.URL != nil && *d.URL != w.URL {
		w.URL = *d.URL
		w.again()
	}
	events, kinds := w.Events, w.Kinds
	if d.Events != nil {
		w.Events = unique(*d.Events)
	}
	if d.Kinds != nil {
		w.Kinds = unique(*d.Kinds)
	}
	if !slices.Equal(w.Events, events) || !slices.Equal(w.Kinds, kinds) {
		w.again() // the next event may be another one, which has had no attempts
	}
	switch {
	case d.Active == nil:
	case !*d.Active:
		w.State, w.Reason = WebhookPaused, 0
	case w.State != WebhookActive:
		w.State, w.Reason = WebhookActive, 0
		w.again()
	}
	return w
}

// again resets the attempts of the next event and the failures of the webhook, and voids the
// outcome of an attempt that is under way.
func (w *Webhook) again() {
	w.Moves++
	w.Attempts, w.Refusals, w.NextAttempt, w.Failures, w.FailingSince = 0, 0, time.Time{}, 0, time.Time{}
}
