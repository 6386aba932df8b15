package sqlite

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

const selectBlockedBy = `SELECT u.name FROM json_each(?1) j CROSS JOIN users u ON u.name = j.value
	CROSS JOIN blocks b ON b.by_id = u.id AND b.name = ?2`

// Blocked reports whether by has blocked user.
func (r *reader) Blocked(by, user im.UserID) (bool, error) {
	key, err := r.userKey(by)
	if err != nil || key == 0 {
		return false, err
	}
	var one int
	return r.session.row("SELECT 1 FROM blocks WHERE by_id = ? AND name = ?", []any{key, string(user)}, &one)
}

// BlockedBy returns which of the users have blocked user.
func (r *reader) BlockedBy(users []im.UserID, user im.UserID) (list []im.UserID, err error) {
	if len(users) == 0 {
		return nil, nil
	}
	names, err := json.Marshal(slices.Compact(slices.Sorted(slices.Values(users))))
	if err != nil {
		return nil, err
	}
	return r.session.users(selectBlockedBy, string(names), string(user))
}

// Blocks returns a page of the users that by has blocked, in the order of their ids.
func (r *reader) Blocks(by im.UserID, page im.Page) ([]im.Block, error) {
	key, err := r.userKey(by)
	if err != nil || key == 0 {
		return nil, err
	}
	var list []im.Block
	err = r.session.usersAt("SELECT name, at FROM blocks WHERE by_id = ? AND name > ? ORDER BY name LIMIT ?",
		[]any{key, page.After, page.Limit},
		func(user im.UserID, at time.Time) { list = append(list, im.Block{User: user, At: at}) })
	return list, err
}

// PutBlock stores that by has blocked user. An existing block keeps its time.
func (t *tx) PutBlock(by, user im.UserID, at time.Time) error {
	key, err := t.intern(by)
	if err != nil {
		return err
	}
	_, err = t.session.exec("INSERT INTO blocks (by_id, name, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		key, string(user), at.UnixMilli())
	if err == nil {
		t.blocks = append(t.blocks, im.UserBlock{By: by, User: user})
	}
	return err
}

// DeleteBlock deletes a block.
func (t *tx) DeleteBlock(by, user im.UserID) error {
	key, err := t.userKey(by)
	if err != nil || key == 0 {
		return err
	}
	_, err = t.session.exec("DELETE FROM blocks WHERE by_id = ? AND name = ?", key, string(user))
	return err
}
