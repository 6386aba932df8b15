package sqlite

import (
	"time"

	"github.com/imapi/imapi/im"
)

// selectStored finds the first message at a seq or after it. Its id is the rowid
// and so in the index.
const selectStored = `SELECT seq, id FROM messages INDEXED BY messages_by_seq
	WHERE conversation_id = ? AND seq >= ? ORDER BY seq LIMIT 1`

// SeqSince returns the seq of the first message of the conversation that was
// stored at this time or later, the next one if none was. Ids rise with seq, and
// say when they were made: so it is found by halving, in as many seeks as the
// history has binary digits.
func (r *reader) SeqSince(conversation im.ID, at time.Time) (int64, error) {
	c, err := r.Conversation(conversation)
	if err != nil {
		return 0, err
	}
	least := im.FirstID(at)
	low, high := c.FirstSeq, c.LastSeq+1 // what is sought is one of low to high
	for low < high {
		middle := low + (high-low)/2
		var seq int64
		var id im.ID
		found, err := r.session.row(selectStored, []any{int64(conversation), middle}, &seq, &id)
		switch {
		case err != nil:
			return 0, err
		case !found || seq >= high:
			high = middle // nothing is left from the middle to there
		case id >= least:
			high = middle
		default:
			low = seq + 1
		}
	}
	// Where messages were removed, the halving may have ended in the gap.
	if _, err := r.session.row(selectStored, []any{int64(conversation), low}, &low, new(im.ID)); err != nil {
		return 0, err
	}
	return low, nil
}
