package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
)

const (
	openList = ` FROM list_stays INDEXED BY list_stays_open
		WHERE to_event = {open} AND conversation_id = ? AND list = ? AND name `
	selectListed = "SELECT name, at" + openList + "> ? ORDER BY name LIMIT ?"
	selectOnList = "SELECT 1" + openList + "= ?"
	// An entry that the same event ended continues.
	insertListStay = `INSERT INTO list_stays (conversation_id, list, name, from_event, at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (conversation_id, name, list, from_event) DO UPDATE SET to_event = {open}, at = excluded.at`
	// Only the newest [im.MaxIntervals] intervals of a user on a list are kept.
	trimStaysOnList = `DELETE FROM list_stays WHERE conversation_id = ?1 AND name = ?2 AND list = ?3 AND from_event <
		(SELECT min(from_event) FROM (SELECT n.from_event FROM list_stays n
		WHERE n.conversation_id = ?1 AND n.name = ?2 AND n.list = ?3 ORDER BY n.from_event DESC LIMIT {max_intervals}))`
	endListStay = `UPDATE list_stays INDEXED BY list_stays_open SET to_event = ?
		WHERE to_event = {open} AND conversation_id = ? AND list = ? AND name = ?`
	// endAllowed ends the entries of the user ?3 on the allow lists of a space's channels.
	endAllowed = `UPDATE list_stays INDEXED BY list_stays_open SET to_event = ?1
		WHERE to_event = {open} AND list = {allow_list} AND name = ?3
		AND conversation_id IN (SELECT c.id` + channelsOf + "?2)"
	endListStaysOf = `UPDATE list_stays INDEXED BY list_stays_open SET to_event = ?1
		WHERE to_event = {open} AND conversation_id IN (SELECT j.value FROM json_each(?2) AS j)`
	trimListStays = `DELETE FROM list_stays WHERE (conversation_id, name, list, from_event) IN
		(SELECT conversation_id, name, list, from_event FROM list_stays INDEXED BY list_stays_closed
		WHERE to_event < {open} AND to_event <= ?1 LIMIT ?2)`
)

// Listed returns a page of the users on a list of a conversation, in the order of users.
func (r *reader) Listed(conversation im.ID, list im.List, page im.Page) (listed []im.Listing, err error) {
	err = r.session.usersAt(selectListed, []any{int64(conversation), int64(list), page.After, page.Limit},
		func(user im.UserID, at time.Time) { listed = append(listed, im.Listing{User: user, At: at}) })
	return listed, err
}

// OnList reports whether a user is on a list of a conversation now.
func (r *reader) OnList(conversation im.ID, list im.List, user im.UserID) (bool, error) {
	var one int
	return r.session.row(selectOnList, []any{int64(conversation), int64(list), string(user)}, &one)
}

// PutListed adds a user to a list of a conversation. It does nothing if the user is on it.
func (t *tx) PutListed(conversation im.ID, list im.List, user im.UserID, at time.Time, from im.Position) error {
	is, err := t.OnList(conversation, list, user)
	if err != nil || is {
		return err
	}
	_, err = t.session.exec(insertListStay, int64(conversation), int64(list), string(user), int64(from), at.UnixMilli())
	if err != nil {
		return err
	}
	_, err = t.session.exec(trimStaysOnList, int64(conversation), string(user), int64(list))
	return err
}

// EndListed takes a user off a list of a conversation.
func (t *tx) EndListed(conversation im.ID, list im.List, user im.UserID, to im.Position) error {
	_, err := t.session.exec(endListStay, int64(to), int64(conversation), int64(list), string(user))
	return err
}
