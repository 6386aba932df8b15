package record

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/imapi/imapi/im"
)

// event holds the fields that few events have. They are ids, numbers and times, never
// content. Ids are numbers; times are in milliseconds.
type event struct {
	MessageIDs []im.ID `json:"message_ids,omitempty"`
	UpTo       im.ID   `json:"up_to,omitempty"`
	BurnAt     int64   `json:"burn_at,omitempty"`
	UpToSeq    int64   `json:"up_to_seq,omitempty"`
	Before     int64   `json:"before,omitempty"`
	FirstSeq   int64   `json:"first_seq,omitempty"`

	Unread *unread `json:"unread,omitempty"`
	Own    *own    `json:"own,omitempty"`

	Space      im.ID     `json:"space,omitempty"`
	Thread     im.ID     `json:"thread,omitempty"`
	Root       im.ID     `json:"root,omitempty"`
	Activity   *activity `json:"activity,omitempty"`
	Role       im.ID     `json:"role,omitempty"`
	MutedUntil int64     `json:"muted_until,omitempty"`

	Webhook im.ID            `json:"webhook,omitempty"`
	Reason  im.WebhookReason `json:"reason,omitempty"`
	After   im.Position      `json:"after,omitempty"`
}

type activity struct {
	Messages int64 `json:"messages"`
	At       int64 `json:"at"`
	Since    int64 `json:"since"`
}

type unread struct {
	Messages int  `json:"messages"`
	More     bool `json:"more,omitempty"`
	Mentions int  `json:"mentions,omitempty"`
}

type own struct {
	Pinned bool `json:"pinned"`
	Muted  bool `json:"muted"`
}

// empty reports whether no field is set, as for most events.
func (d event) empty() bool {
	return len(d.MessageIDs) == 0 && d.UpTo == 0 && d.BurnAt == 0 && d.UpToSeq == 0 && d.Before == 0 &&
		d.FirstSeq == 0 && d.Unread == nil && d.Own == nil &&
		d.Space == 0 && d.Thread == 0 && d.Root == 0 && d.Activity == nil && d.Role == 0 && d.MutedUntil == 0 &&
		d.Webhook == 0 && d.Reason == 0 && d.After == 0
}

// Event encodes the fields of an event that have no column of their own as JSON. It returns
// nil if none is set. The columns are: position, type, time, conversation, message, seq,
// role, and the users To, Actor (with device) and User.
func Event(e im.Event) ([]byte, error) {
	d := event{
		MessageIDs: e.MessageIDs, UpTo: e.UpTo, UpToSeq: e.UpToSeq, FirstSeq: e.FirstSeq,
		BurnAt: optionalMillis(e.BurnAt), Before: optionalMillis(e.Before), MutedUntil: optionalMillis(e.MutedUntil),
		Unread: (*unread)(e.Unread), Own: (*own)(e.Own),
		Space: e.Space, Thread: e.Thread, Root: e.Root, Role: e.RoleID,
		Webhook: e.Webhook, Reason: e.Reason, After: e.After,
	}
	if e.Activity != nil {
		d.Activity = &activity{Messages: e.Activity.Messages, At: e.Activity.At.UnixMilli(), Since: e.Activity.Since.UnixMilli()}
	}
	if d.empty() {
		return nil, nil
	}
	data, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	return data, nil
}

// ReadEvent decodes what [Event] encoded into the event.
func ReadEvent(data []byte, e *im.Event) error {
	var d event
	if err := json.Unmarshal(data, &d); err != nil {
		return fmt.Errorf("decode an event: %w", err)
	}
	e.MessageIDs, e.UpTo, e.UpToSeq, e.FirstSeq = d.MessageIDs, d.UpTo, d.UpToSeq, d.FirstSeq
	e.BurnAt, e.Before, e.MutedUntil = optionalTime(d.BurnAt), optionalTime(d.Before), optionalTime(d.MutedUntil)
	e.Unread, e.Own = (*im.UnreadCount)(d.Unread), (*im.OwnSettings)(d.Own)
	e.Space, e.Thread, e.Root, e.RoleID = d.Space, d.Thread, d.Root, d.Role
	e.Webhook, e.Reason, e.After = d.Webhook, d.Reason, d.After
	if d.Activity != nil {
		e.Activity = &im.Activity{Messages: d.Activity.Messages, At: fromMillis(d.Activity.At), Since: fromMillis(d.Activity.Since)}
	}
	return nil
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// optionalTime converts milliseconds to a time; 0 becomes the zero time.
func optionalTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMillis(ms)
}

// optionalMillis is the inverse of optionalTime.
func optionalMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
