package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
)

// selectStoredSince halves the seqs of a conversation until it has found the
// first message with an id of ?2 or above. The id is the rowid and so in the
// index. Where messages were removed, the halving may end in a gap, which the
// next one follows.
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

// SeqSince returns the seq of the first message of the conversation that was
// stored at this time or later, the next one if none was. Ids rise with seq, and
// say when they were made: so it is found by halving, in as many seeks as the
// history has binary digits.
func (r *reader) SeqSince(conversation im.ID, at time.Time) (seq int64, err error) {
	found, err := r.session.row(selectStoredSince, []any{int64(conversation), int64(im.FirstID(at))}, &seq)
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return seq, err
}
