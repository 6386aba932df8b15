package sqlite

import (
	"encoding/json"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// rememberMessages stores the ids, client_ids, senders and times of messages in the transaction
	// that deletes the messages.
	rememberMessages = `INSERT OR REPLACE INTO remembered_messages (id, conversation_id, sender_id, client_id, created_at, remembered_at)
		SELECT id, conversation_id, sender_id, client_id, created_at, ?1 FROM messages
		WHERE id IN (SELECT j.value FROM json_each(?2) AS j)`
	// rememberDirect stores the users of a direct conversation.
	rememberDirect = `INSERT OR REPLACE INTO remembered_directs (conversation_id, peer_low, peer_high)
		SELECT id, peer_low, peer_high FROM conversations WHERE id = ? AND peer_low IS NOT NULL`
	putDirectRemembered = "UPDATE remembered_directs SET remembered_at = ? WHERE conversation_id = ?"

	selectRemembered   = "SELECT g.id FROM json_each(?) j CROSS JOIN remembered_messages g ON g.id = j.value"
	selectRememberedAs = `SELECT j.key FROM json_each(?) j CROSS JOIN users u ON u.name = j.value ->> 0
		CROSS JOIN remembered_messages g INDEXED BY remembered_by_client_id ON g.sender_id = u.id AND g.client_id = j.value ->> 1`
	selectRememberedAt = `SELECT j.key, g.conversation_id FROM json_each(?) j CROSS JOIN users u ON u.name = j.value ->> 0
		CROSS JOIN remembered_messages g INDEXED BY remembered_by_time
			ON g.sender_id = u.id AND g.created_at = j.value ->> 1`
	selectRememberedDirects = `SELECT conversation_id FROM remembered_directs INDEXED BY remembered_directs_of
		WHERE peer_low = ? AND peer_high = ? ORDER BY conversation_id`

	forgetMessages = `DELETE FROM remembered_messages WHERE id IN
		(SELECT id FROM remembered_messages INDEXED BY remembered_longest WHERE remembered_at < ?1 ORDER BY remembered_at LIMIT ?2)`
	forgetDirects = `DELETE FROM remembered_directs WHERE conversation_id IN
		(SELECT conversation_id FROM remembered_directs INDEXED BY remembered_directs_longest
			WHERE remembered_at IS NOT NULL AND remembered_at < ?1 ORDER BY remembered_at LIMIT ?2)`
)

// Gone returns those of the given ids that belonged to trimmed or purged messages.
func (r *reader) Gone(ids []im.ID) ([]im.ID, error) { return r.idsAmong(selectRemembered, ids) }

// GoneAs returns those of the given keys that belonged to trimmed or purged messages.
func (r *reader) GoneAs(keys []im.ClientKey) ([]im.ClientKey, error) {
	return r.keysAmong(selectRememberedAs, keys)
}

// GoneAt returns the messages that were trimmed or purged and have one of these senders and
// times.
func (r *reader) GoneAt(keys []im.SentKey) (list []im.GoneMessage, err error) {
	values := make([][2]any, len(keys))
	for i, k := range keys {
		values[i] = [2]any{string(k.Sender), k.At.UnixMilli()}
	}
	b, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	err = r.session.query(selectRememberedAt, []any{string(b)}, func(rows row) (bool, error) {
		var i int
		var g im.GoneMessage
		err := rows.Scan(&i, &g.Conversation)
		g.SentKey = keys[i]
		list = append(list, g)
		return true, err
	})
	return list, err
}

// GoneDirects returns the deleted direct conversations of two users.
func (r *reader) GoneDirects(peers [2]im.UserID) ([]im.ID, error) {
	var keys [2]int64
	for i, peer := range peers {
		var err error
		if keys[i], err = r.userKey(peer); err != nil || keys[i] == 0 {
			return nil, err
		}
	}
	return r.ids(selectRememberedDirects, keys[0], keys[1])
}

// Forget deletes what is remembered from before a time, messages first, creations last. It returns the
// number of rows, up to limit.
func (t *tx) Forget(before time.Time, limit int) (forgotten int, err error) {
	for _, query := range []string{forgetMessages, forgetDirects, forgetCreations} {
		n, err := t.session.update(query, ceilMillis(before).UnixMilli(), limit-forgotten)
		forgotten += int(n)
		if err != nil || forgotten == limit {
			return forgotten, err
		}
	}
	return forgotten, nil
}
