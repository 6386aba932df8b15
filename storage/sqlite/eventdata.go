package sqlite

import (
	"database/sql"
	"encoding/json"

	"github.com/imapi/imapi/im"
)

// eventJSON is what few events have besides their columns: ids and a time,
// never content. The ids are numbers and burn_at is milliseconds.
type eventJSON struct {
	MessageIDs []im.ID `json:"message_ids,omitempty"`
	UpTo       im.ID   `json:"up_to,omitempty"`
	BurnAt     int64   `json:"burn_at,omitempty"`
}

// eventData returns what of an event goes to the column data, NULL if nothing
// does.
func eventData(e im.Event) (sql.NullString, error) {
	d := eventJSON{MessageIDs: e.MessageIDs, UpTo: e.UpTo}
	if !e.BurnAt.IsZero() {
		d.BurnAt = e.BurnAt.UnixMilli()
	}
	if len(d.MessageIDs) == 0 && d.UpTo == 0 && d.BurnAt == 0 {
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
	e.MessageIDs, e.UpTo = d.MessageIDs, d.UpTo
	if d.BurnAt != 0 {
		e.BurnAt = fromMillis(d.BurnAt)
	}
	return nil
}
