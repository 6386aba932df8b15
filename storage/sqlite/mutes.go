package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
)

const (
	putMute = `INSERT INTO mutes (conversation_id, user_id, until) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET until = excluded.until`
	deleteMute = "DELETE FROM mutes WHERE conversation_id = ? AND user_id = ?"

	putSpoke = `INSERT INTO spoken (conversation_id, user_id, at) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET at = excluded.at`
	selectSpoke = "SELECT at FROM spoken WHERE conversation_id = ? AND user_id = ?"
)

// PutMute stores the time until which a user may not send to a conversation. A zero time
// deletes the mute.
func (t *tx) PutMute(conversation im.ID, user im.UserID, until time.Time) error {
	if until.IsZero() {
		key, err := t.userKey(user)
		if err != nil || key == 0 {
			return err
		}
		_, err = t.session.exec(deleteMute, int64(conversation), key)
		return err
	}
	key, err := t.intern(user)
	if err != nil {
		return err
	}
	_, err = t.session.exec(putMute, int64(conversation), key, until.UnixMilli())
	return err
}

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
