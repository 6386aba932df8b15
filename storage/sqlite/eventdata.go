package sqlite

import (
	"database/sql"
	"encoding/json"

	"github.com/imapi/imapi/im"
)

// eventJSON is what few events have besides their columns: ids, numbers and
// times, never content. The ids are numbers and the times milliseconds.
type eventJSON struct {
	MessageIDs []im.ID `json:"message_ids,omitempty"`
	UpTo       im.ID   `json:"up_to,omitempty"`
	BurnAt     int64   `json:"burn_at,omitempty"`
	UpToSeq    int64   `json:"up_to_seq,omitempty"`
	Before     int64   `json:"before,omitempty"`
	FirstSeq   int64   `json:"first_seq,omitempty"`

	Unread *unreadJSON `json:"unread,omitempty"`
	Own    *ownJSON    `json:"own,omitempty"`

	Space      im.ID         `json:"space,omitempty"`
	Thread     im.ID         `json:"thread,omitempty"`
	Root       im.ID         `json:"root,omitempty"`
	Activity   *activityJSON `json:"activity,omitempty"`
	Role       im.ID         `json:"role,omitempty"`
	MutedUntil int64         `json:"muted_until,omitempty"`
}

type activityJSON struct {
	Messages int64 `json:"messages"`
	At       int64 `json:"at"`
	Since    int64 `json:"since"`
}

type unreadJSON struct {
	Messages int  `json:"messages"`
	More     bool `json:"more,omitempty"`
	Mentions int  `json:"mentions,omitempty"`
}

type ownJSON struct {
	Pinned bool `json:"pinned"`
	Muted  bool `json:"muted"`
}

// empty reports whether there is nothing to keep.
func (d eventJSON) empty() bool {
	return len(d.MessageIDs) == 0 && d.UpTo == 0 && d.BurnAt == 0 && d.UpToSeq == 0 && d.Before == 0 &&
		d.FirstSeq == 0 && d.Unread == nil && d.Own == nil &&
		d.Space == 0 && d.Thread == 0 && d.Root == 0 && d.Activity == nil && d.Role == 0 && d.MutedUntil == 0
}

// eventData returns what of an event goes to the column data, NULL if nothing
// does.
func eventData(e im.Event) (sql.NullString, error) {
	d := eventJSON{
		MessageIDs: e.MessageIDs, UpTo: e.UpTo, UpToSeq: e.UpToSeq, FirstSeq: e.FirstSeq,
		Unread: (*unreadJSON)(e.Unread), Own: (*ownJSON)(e.Own),
		Space: e.Space, Thread: e.Thread, Root: e.Root, Role: e.RoleID,
	}
	if e.Activity != nil {
		d.Activity = &activityJSON{Messages: e.Activity.Messages, At: e.Activity.At.UnixMilli(), Since: e.Activity.Since.UnixMilli()}
	}
	if !e.MutedUntil.IsZero() {
		d.MutedUntil = e.MutedUntil.UnixMilli()
	}
	if !e.BurnAt.IsZero() {
		d.BurnAt = e.BurnAt.UnixMilli()
	}
	if !e.Before.IsZero() {
		d.Before = e.Before.UnixMilli()
	}
	if d.empty() {
		return sql.NullString{}, nil
	}
	text, err := json.Marshal(d)
	return sql.NullString{String: string(text), Valid: true}, err
}

// parseEventData reads what [eventData] wrote.
func parseEventData(text string, e *im.Event) error {
	var d eventJSON
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	e.MessageIDs, e.UpTo, e.UpToSeq, e.FirstSeq = d.MessageIDs, d.UpTo, d.UpToSeq, d.FirstSeq
	e.Unread, e.Own = (*im.UnreadCount)(d.Unread), (*im.OwnSettings)(d.Own)
	e.Space, e.Thread, e.Root, e.RoleID = d.Space, d.Thread, d.Root, d.Role
	if d.Activity != nil {
		e.Activity = &im.Activity{Messages: d.Activity.Messages, At: fromMillis(d.Activity.At), Since: fromMillis(d.Activity.Since)}
	}
	if d.MutedUntil != 0 {
		e.MutedUntil = fromMillis(d.MutedUntil)
	}
	if d.BurnAt != 0 {
		e.BurnAt = fromMillis(d.BurnAt)
	}
	if d.Before != 0 {
		e.Before = fromMillis(d.Before)
	}
	return nil
}
