package sqlite

import (
	"database/sql"
	"math"
	"time"

	"github.com/imapi/imapi/im"
)

// erasureScan is the maximum number of erasures that one page for a user examines.
const erasureScan = 2000

// erasedRows are the erasures in order. SQLite seeks to the time of a key and filters by
// its id, so a page also reads the other erasures of the same millisecond, but no more.
const erasedRows = ` FROM messages m INDEXED BY messages_by_erase_stamp `

const (
	// measureErasures finds the end of a page's scan. It only reads the index.
	measureErasures = "SELECT m.erase_stamp, m.id" + erasedRows +
		"WHERE m.erase_stamp IS NOT NULL AND (m.erase_stamp, m.id) > (?1, ?2) ORDER BY m.erase_stamp, m.id LIMIT ?3"
	selectErasures = "SELECT " + messageColumns + withoutContent + ", m.erase_stamp, m.shredded_at" + erasedRows +
		`WHERE m.erase_stamp IS NOT NULL AND (m.erase_stamp, m.id) > (?1, ?2)
		ORDER BY m.erase_stamp, m.id LIMIT ?3`
	// selectErasuresOf stops at (?4, ?5) and filters by conversation before it joins
	// anything: the user ?6 must be a member of the message's conversation, its parent or
	// its space.
	selectErasuresOf = "SELECT " + messageColumns + withoutContent + ", m.erase_stamp, m.shredded_at" + erasedRows +
		`WHERE m.erase_stamp IS NOT NULL AND (m.erase_stamp, m.id) > (?1, ?2) AND (m.erase_stamp, m.id) <= (?4, ?5)
		AND (EXISTS (SELECT 1 FROM members WHERE conversation_id = m.conversation_id AND user_id = ?6)
			OR EXISTS (SELECT 1 FROM conversations c WHERE c.id = m.conversation_id AND c.deleted_at IS NULL
				AND (c.parent_id IS NOT NULL AND EXISTS (SELECT 1 FROM members WHERE conversation_id = c.parent_id AND user_id = ?6)
				OR c.space_id IS NOT NULL AND EXISTS (SELECT 1 FROM members WHERE conversation_id = c.space_id AND user_id = ?6))))
		ORDER BY m.erase_stamp, m.id LIMIT ?3`
)

const (
	selectErasedIn = "SELECT " + messageColumns + withoutContent + ", m.erase_stamp, m.shredded_at FROM messages m INDEXED BY messages_erased " +
		"WHERE m.conversation_id = ? AND m.seq > ? AND m.state <> {active} ORDER BY m.seq LIMIT ?"
	selectReturnedTo = `SELECT id FROM (
			SELECT conversation_id AS id FROM members INDEXED BY members_returned
			WHERE user_id = ?1 AND returned_at >= ?2 AND kind <= {room}
			UNION ALL SELECT t.id FROM (SELECT conversation_id AS id FROM members INDEXED BY members_returned
				WHERE user_id = ?1 AND returned_at >= ?2 AND kind <= {room}) g
			CROSS JOIN conversations t INDEXED BY threads_of_parent ON t.deleted_at IS NULL AND t.parent_id = g.id)
		WHERE id > ?3 ORDER BY id LIMIT ?4`
)

// ErasedIn returns the erasures in a conversation, in the order of seqs.
func (r *reader) ErasedIn(conversation im.ID, after int64, limit int) ([]im.ErasedMessage, error) {
	var page im.ErasurePage
	err := r.takeErasures(&page, limit, selectErasedIn, int64(conversation), after, limit)
	return page.Items, err
}

// ReturnedTo returns the conversations to which a user has returned since a time, and their
// threads.
func (r *reader) ReturnedTo(user im.UserID, since time.Time, after im.ID, limit int) ([]im.ID, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	return r.ids(selectReturnedTo, key, ceilMillis(since).UnixMilli(), int64(after), limit)
}

// Erasures returns a page of erasures in the order of their stamps.
func (r *reader) Erasures(q im.ErasureQuery) (im.ErasurePage, error) {
	var page im.ErasurePage
	if q.Limit <= 0 {
		return page, nil
	}
	stamp, id := int64(math.MinInt64), int64(math.MinInt64)
	if !q.Since.IsZero() {
		stamp = ceilMillis(q.Since).UnixMilli()
	}
	if past := q.Past; past != nil && past.Stamp.UnixMilli() >= stamp {
		stamp, id = past.Stamp.UnixMilli(), int64(past.ID)
	}
	if q.User == "" {
		return page, r.takeErasures(&page, q.Limit, selectErasures, stamp, id, q.Limit+1)
	}
	user, err := r.userKey(q.User)
	if err != nil || user == 0 {
		return page, err
	}
	var end im.ErasureKey
	var endMillis int64
	scanned := 0
	err = r.session.query(measureErasures, []any{stamp, id, erasureScan}, func(rows row) (bool, error) {
		scanned++
		return true, rows.Scan(&endMillis, &end.ID)
	})
	if err != nil || scanned == 0 {
		return page, err
	}
	err = r.takeErasures(&page, q.Limit, selectErasuresOf, stamp, id, q.Limit+1, endMillis, int64(end.ID), user)
	if err == nil && page.Next == nil && scanned == erasureScan {
		end.Stamp = fromMillis(endMillis)
		page.Next = &end
	}
	return page, err
}

// takeErasures adds the results of a query to the page. The query must return one row more
// than the limit if there is a next page.
func (r *reader) takeErasures(page *im.ErasurePage, limit int, query string, args ...any) error {
	return r.session.query(query, args, func(rows row) (bool, error) {
		if len(page.Items) == limit {
			last := page.Items[limit-1]
			page.Next = &im.ErasureKey{Stamp: last.Stamp, ID: last.ID}
			return false, nil
		}
		var stamp int64
		var shredded sql.NullInt64
		m, err := r.scanMessage(rows, &stamp, &shredded)
		page.Items = append(page.Items, im.ErasedMessage{Message: m, Stamp: fromMillis(stamp), Shredded: optionalTime(shredded)})
		return true, err
	})
}
