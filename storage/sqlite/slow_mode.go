package sqlite

import (
	"database/sql"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	putSpoke = `INSERT INTO spoken (conversation_id, user_id, at) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET at = excluded.at`
	selectSpoke = "SELECT at FROM spoken WHERE conversation_id = ? AND user_id = ?"

	// selectLastSent searches only the newest messages.
	selectLastSent = `SELECT m.created_at FROM (SELECT id AS of, sender_id AS by, quiet AS q FROM messages INDEXED BY messages_by_seq
			WHERE conversation_id = ? ORDER BY seq DESC LIMIT {max_last_sent}) p
		CROSS JOIN messages m ON m.id = p.of WHERE p.by = ? AND p.q = 0 LIMIT 1`
)

// PutSpoke stores when a user last did something that slow mode limits.
func (t *tx) PutSpoke(conversation im.ID, user im.UserID, at time.Time) error {
	key, err := t.intern(user)
	if err != nil {
		return err
	}
	_, err = t.session.exec(putSpoke, int64(conversation), key, at.UnixMilli())
	return err
}

// Spoke returns when a user last did something that slow mode limits.
func (r *reader) Spoke(conversation im.ID, user im.UserID) (time.Time, bool, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return time.Time{}, false, err
	}
	var at int64
	found, err := r.session.row(selectSpoke, []any{int64(conversation), key}, &at)
	if err != nil || !found {
		return time.Time{}, false, err
	}
	return fromMillis(at), true, nil
}

// LastSent returns when the user last sent a message that was not quiet, if it is among the newest
// [im.MaxLastSent] messages.
func (r *reader) LastSent(conversation im.ID, user im.UserID) (time.Time, bool, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return time.Time{}, false, err
	}
	var at sql.NullInt64
	found, err := r.session.row(selectLastSent, []any{int64(conversation), key}, &at)
	return optionalTime(at), found, err
}
