package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
)

const (
	putMute = `INSERT INTO mutes (conversation_id, user_id, until) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET until = excluded.until`
	deleteMute = "DELETE FROM mutes WHERE conversation_id = ? AND user_id = ?"
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
