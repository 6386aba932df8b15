package sqlite

import (
	"cmp"
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
)

// Ids rise with seq and contain the time at which they were made. That is when the message
// was created, unless it was imported or the clock was set back. So for most messages the
// order of seqs is the order of time, and a time is found by binary search; see
// [reader.SeqSince]. The other messages are called timed, and only they are in the index by
// time. A query by time reads both and merges the results.

// timed reports whether the time in the id of a message differs from that of its creation.
func timed(id im.ID, created time.Time) bool {
	return id.Made().UnixMilli() != created.UnixMilli()
}

const (
	// selectBefore and selectUntimedBefore find the oldest messages.
	selectBefore = "SELECT " + deletionColumns + ` FROM messages m INDEXED BY messages_by_time
		WHERE m.conversation_id = ? AND m.timed = 1 AND m.created_at < ? ORDER BY m.created_at, m.seq LIMIT ?`
	selectUntimedBefore = "SELECT " + deletionColumns + ` FROM messages m INDEXED BY messages_by_seq
		WHERE m.conversation_id = ? AND m.seq < ? AND m.timed = 0 ORDER BY m.seq LIMIT ?`

	selectOldestAt = `SELECT created_at FROM messages INDEXED BY messages_by_time
		WHERE conversation_id = ? AND timed = 1 ORDER BY created_at LIMIT 1`
	selectOldestUntimed = `SELECT created_at FROM messages INDEXED BY messages_by_seq
		WHERE conversation_id = ? AND seq < ? AND timed = 0 ORDER BY seq LIMIT 1`

	countBefore = `SELECT (SELECT count(*) FROM messages INDEXED BY messages_by_time
			WHERE conversation_id = ?1 AND timed = 1 AND created_at < ?2)
		+ (SELECT count(*) FROM messages INDEXED BY messages_by_seq WHERE conversation_id = ?1 AND seq < ?3 AND timed = 0)`
)

// seqAt returns the first seq whose id is of this millisecond or later. Of the messages
// that are not timed, exactly those with a lower seq were created earlier. Times outside
// the range of ids are before or after all messages.
func (r *reader) seqAt(conversation, millis int64) (int64, error) {
	switch {
	case millis <= 0:
		return math.MinInt64, nil
	case millis > im.ID(math.MaxInt64).Made().UnixMilli():
		return math.MaxInt64, nil
	}
	seq, err := r.SeqSince(im.ID(conversation), fromMillis(millis))
	if errors.Is(err, im.ErrNotFound) {
		return math.MaxInt64, nil
	}
	return seq, err
}

// messagesBefore returns up to limit of the oldest messages created before a cutoff.
func (r *reader) messagesBefore(conversation, cutoff int64, limit int) (list []deletion, err error) {
	add := func(rows row) (bool, error) {
		m, err := scanDeletion(rows)
		list = append(list, m)
		return true, err
	}
	if err := r.session.query(selectBefore, []any{conversation, cutoff, limit}, add); err != nil {
		return nil, err
	}
	if len(list) == limit && limit > 0 {
		cutoff = list[limit-1].created + 1 // newer untimed messages do not matter
	}
	end, err := r.seqAt(conversation, cutoff)
	if err != nil {
		return nil, err
	}
	if err := r.session.query(selectUntimedBefore, []any{conversation, end, limit}, add); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b deletion) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.seq, b.seq))
	})
	return list[:min(len(list), limit)], nil
}

// oldestAt returns when the oldest message was created, NULL if there is none.
func (r *reader) oldestAt(conversation int64) (oldest sql.NullInt64, err error) {
	end := int64(math.MaxInt64)
	if _, err := r.session.row(selectOldestAt, []any{conversation}, &oldest); err != nil {
		return oldest, err
	}
	if oldest.Valid {
		if end, err = r.seqAt(conversation, oldest.Int64); err != nil {
			return oldest, err
		}
	}
	_, err = r.session.row(selectOldestUntimed, []any{conversation, end}, &oldest)
	return oldest, err
}

// CountBefore counts the messages created before a time.
func (r *reader) CountBefore(conversation im.ID, before time.Time) (n int64, err error) {
	cutoff := ceilMillis(before).UnixMilli()
	end, err := r.seqAt(int64(conversation), cutoff)
	if err != nil {
		return 0, err
	}
	_, err = r.session.row(countBefore, []any{int64(conversation), cutoff, end}, &n)
	return n, err
}
