package sqlite

import (
	"database/sql"
	"math"
	"time"

	"github.com/imapi/imapi/im"
)

// agedRows are the conversations with messages, to which retention may apply.
const agedRows = ` FROM conversations c INDEXED BY conversations_oldest `

const (
	isAged = "c.oldest_at IS NOT NULL AND c.deleted_at IS NULL"

	// selectRetentions steps from one setting to the next greater one.
	selectRetentions = `WITH RECURSIVE setting (value) AS (
			SELECT min(c.retention)` + agedRows + "WHERE " + isAged + ` AND c.retention IS NOT NULL
			UNION ALL
			SELECT (SELECT min(c.retention)` + agedRows + "WHERE c.retention > setting.value AND " + isAged + `)
			FROM setting WHERE setting.value IS NOT NULL)
		SELECT NULL WHERE EXISTS (SELECT 1` + agedRows + "WHERE c.retention IS NULL AND " + isAged + `)
		UNION ALL SELECT value FROM setting WHERE value IS NOT NULL`
	selectAged = "SELECT " + conversationColumns + agedRows + conversationUsers +
		"WHERE c.retention IS ?1 AND c.oldest_at < ?2 AND (c.oldest_at, c.id) > (?3, ?4) AND " + isAged +
		" ORDER BY c.oldest_at, c.id LIMIT ?5"
	selectAgeOf = "SELECT c.oldest_at" + agedRows + "WHERE c.retention IS ? AND " + isAged +
		" ORDER BY c.oldest_at LIMIT 1"

	selectTrimming = "SELECT " + conversationColumns + " FROM conversations c INDEXED BY conversations_trimming" +
		conversationUsers + "WHERE c.trim_before IS NOT NULL AND c.deleted_at IS NULL ORDER BY c.id LIMIT ?"
	selectUnpurged = "SELECT " + conversationColumns + " FROM conversations c INDEXED BY conversations_unpurged" +
		conversationUsers + "WHERE c.deleted_at IS NOT NULL AND c.purged = 0 ORDER BY c.deleted_at, c.id LIMIT ?"
)

// Retentions returns the distinct retention settings of conversations with messages.
func (r *reader) Retentions() (list []*time.Duration, err error) {
	err = r.session.query(selectRetentions, nil, func(rows row) (bool, error) {
		var setting sql.NullInt64
		err := rows.Scan(&setting)
		list = append(list, optionalDuration(setting))
		return true, err
	})
	return list, err
}

// Oldest returns conversations with this retention setting whose oldest message is from before a
// time, in the order of the times of those messages.
func (r *reader) Oldest(retention *time.Duration, before time.Time, past *im.OldestKey, limit int) ([]im.Conversation, error) {
	at, id := int64(math.MinInt64), int64(math.MinInt64)
	if past != nil {
		at, id = past.OldestAt.UnixMilli(), int64(past.ID)
	}
	return r.conversations(selectAged, durationMillis(retention), ceilMillis(before).UnixMilli(), at, id, limit)
}

// Trimming returns conversations whose trim is in progress.
func (r *reader) Trimming(limit int) ([]im.Conversation, error) {
	return r.conversations(selectTrimming, limit)
}

// Unpurged returns deleted conversations that are not purged.
func (r *reader) Unpurged(limit int) ([]im.Conversation, error) {
	return r.conversations(selectUnpurged, limit)
}

func (r *reader) conversations(query string, args ...any) (list []im.Conversation, err error) {
	err = r.session.query(query, args, func(rows row) (bool, error) {
		c, err := r.scanConversation(rows)
		list = append(list, c)
		return true, err
	})
	return list, err
}

// OldestMessage returns the oldest CreatedAt of all messages, except those of deleted
// conversations. It runs a query for each retention setting.
func (r *reader) OldestMessage() (oldest time.Time, found bool, err error) {
	settings, err := r.Retentions()
	if err != nil {
		return time.Time{}, false, err
	}
	for _, setting := range settings {
		var at int64
		has, err := r.session.row(selectAgeOf, []any{durationMillis(setting)}, &at)
		if err != nil {
			return time.Time{}, false, err
		}
		if has && (!found || fromMillis(at).Before(oldest)) {
			oldest, found = fromMillis(at), true
		}
	}
	return oldest, found, nil
}
