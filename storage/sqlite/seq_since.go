package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
)

// selectStoredSince finds the first message with an id of at least ?2 by binary search over
// the seqs of a conversation. The id is the rowid, so the index contains it. Where messages
// were deleted, the search may end in a gap; the next message follows.
const (
	selectStoredSince = `WITH RECURSIVE half (low, high) AS (
			SELECT first_seq, last_seq + 1 FROM conversations WHERE id = ?1
			UNION ALL
			SELECT CASE WHEN ` + middleIsBefore + ` THEN (low + high) / 2 + 1 ELSE low END,
				CASE WHEN ` + middleIsBefore + ` THEN high ELSE (low + high) / 2 END
			FROM half WHERE low < high)
		SELECT coalesce((SELECT seq FROM messages INDEXED BY messages_by_seq
			WHERE conversation_id = ?1 AND seq >= low ORDER BY seq LIMIT 1), low) FROM half WHERE low >= high`
	middleIsBefore = `coalesce((SELECT id FROM messages INDEXED BY messages_by_seq
		WHERE conversation_id = ?1 AND seq >= (low + high) / 2 ORDER BY seq LIMIT 1) < ?2, 0)`
)

// SeqSince returns the seq of the first message of the conversation that was stored at or
// after a time, or the next seq if there is none. Ids rise with seq and contain their time,
// so it is a binary search.
func (r *reader) SeqSince(conversation im.ID, at time.Time) (seq int64, err error) {
	found, err := r.session.row(selectStoredSince, []any{int64(conversation), int64(im.FirstID(at))}, &seq)
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return seq, err
}
