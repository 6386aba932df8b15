package sqlite

import (
	"database/sql"
	"math"

	"github.com/imapi/imapi/im"
)

// A step of a trim reads events for members and events for one user. Of either kind it reads up to
// eventsOfMessage for each message that it may delete, but at least minEvents. Of the ranges of
// receipts and hides it reads up to rangeBatch.
const (
	eventsOfMessage = 2
	minEvents       = 16
	rangeBatch      = 300
)

const (
	selectTrimProgress = "SELECT pos, kind, user_id FROM trim_progress WHERE conversation_id = ?"
	putTrimProgress    = `INSERT INTO trim_progress (conversation_id, pos, kind, user_id) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET pos = excluded.pos, kind = excluded.kind, user_id = excluded.user_id`
	deleteTrimProgress = "DELETE FROM trim_progress WHERE conversation_id = ?"

	selectEventsFrom = `SELECT pos, at, type FROM events INDEXED BY events_of_conversation
		WHERE conversation_id = ? AND indexed = 1 AND pos > ? ORDER BY pos LIMIT ?`
	selectAddressedFrom = `SELECT pos, at, type FROM events INDEXED BY events_addressed
		WHERE conversation_id = ? AND to_user IS NOT NULL AND pos > ? ORDER BY pos LIMIT ?`
	deleteEvents = "DELETE FROM events WHERE pos IN (SELECT j.value FROM json_each(?1) AS j)"

	selectRangesPast = `SELECT kind, user_id, from_seq, to_seq FROM seq_ranges
		WHERE conversation_id = ? AND (kind, user_id) > (?, ?) ORDER BY kind, user_id, from_seq LIMIT ?`
	deleteRangesUpTo = "DELETE FROM seq_ranges WHERE conversation_id = ? AND kind = ? AND user_id = ? AND from_seq <= ?"
)

// trimProgress is the progress of deleting what belongs to a conversation's trimmed
// messages.
type trimProgress struct {
	*tx
	conversation     int64
	pos              int64
	kind, user       int64
	wasPos           int64
	wasKind, wasUser int64
}

// loadTrimProgress loads the progress.
func (t *tx) loadTrimProgress(conversation int64) (*trimProgress, error) {
	r := &trimProgress{tx: t, conversation: conversation}
	_, err := t.session.row(selectTrimProgress, []any{conversation}, &r.pos, &r.kind, &r.user)
	r.wasPos, r.wasKind, r.wasUser = r.pos, r.kind, r.user
	return r, err
}

func (r *trimProgress) save() error {
	if r.pos == r.wasPos && r.kind == r.wasKind && r.user == r.wasUser {
		return nil
	}
	return r.must(putTrimProgress, r.conversation, r.pos, r.kind, r.user)
}

// trimEvents deletes events about messages from before a time: those for members, and those for one
// user. Together, the steps of a trim go through the log once. How many events a step reads depends
// on the number of messages that it may delete. trimEvents reports whether it has reached the time.
//
// It keeps the newest event of the log, because the head of the log must not move back.
func (r *trimProgress) trimEvents(cutoff int64, messages int) (through bool, err error) {
	var head sql.NullInt64
	if _, err := r.session.row(selectHead, nil, &head); err != nil {
		return false, err
	}
	// Index all events, so that the statements below find them.
	if err := r.indexThrough(r.last); err != nil {
		return false, err
	}
	batch := max(eventsOfMessage*messages, minEvents)
	through = true
	end := head.Int64
	var expired []int64
	for _, query := range []string{selectEventsFrom, selectAddressedFrom} {
		n, reached := 0, int64(math.MaxInt64)
		err := r.session.query(query, []any{r.conversation, r.pos, batch}, func(rows row) (bool, error) {
			var pos, at int64
			var kind im.EventType
			if err := rows.Scan(&pos, &at, &kind); err != nil {
				return false, err
			}
			if at >= cutoff || pos >= head.Int64 {
				reached = pos - 1
				return false, nil
			}
			if n++; n == batch {
				reached, through = pos, false
			}
			if kind.OfMessages() {
				expired = append(expired, pos)
			}
			return true, nil
		})
		if err != nil {
			return false, err
		}
		end = min(end, reached)
	}
	r.pos = max(r.pos, end)
	return through, r.updateList(deleteEvents, expired)
}

// trimRanges deletes ranges of receipts and hides that end below a seq. It goes from user
// to user in bounded steps and reports whether it has reached the last; it then begins
// again.
func (r *trimProgress) trimRanges(below int64) (through bool, err error) {
	type key struct{ kind, user int64 }
	type part struct {
		key
		upTo int64
	}
	var parts []part
	var at key   // the user whose ranges are being read
	past := true // the remaining ranges of this user are kept
	n := 0
	err = r.session.query(selectRangesPast, []any{r.conversation, r.kind, r.user, rangeBatch},
		func(rows row) (bool, error) {
			var of key
			var from, to int64
			if err := rows.Scan(&of.kind, &of.user, &from, &to); err != nil {
				return false, err
			}
			n++
			if of != at {
				if at != (key{}) {
					r.kind, r.user = at.kind, at.user
				}
				at, past = of, false
			}
			switch {
			case past:
			case to >= below:
				past = true
			case len(parts) > 0 && parts[len(parts)-1].key == of:
				parts[len(parts)-1].upTo = from
			default:
				parts = append(parts, part{of, from})
			}
			return true, nil
		})
	if err != nil {
		return false, err
	}
	if through = n < rangeBatch; through {
		r.kind, r.user = 0, 0
	} else if past {
		r.kind, r.user = at.kind, at.user
	}
	for _, p := range parts {
		if _, err := r.session.update(deleteRangesUpTo, r.conversation, p.kind, p.user, p.upTo); err != nil {
			return false, err
		}
	}
	return through, nil
}
