package sqlite

import (
	"slices"

	"github.com/imapi/imapi/im"
)

const (
	selectUnstarted = "SELECT " + messageColumns + withContent + " FROM messages m INDEXED BY messages_unstarted" + messageParts +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.burn_after IS NOT NULL AND m.burn_at IS NULL AND m.state = 1
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
	selectBurning = "SELECT " + messageColumns + withoutContent + " FROM messages m INDEXED BY messages_burning" + messageUsers +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.burn_at IS NOT NULL AND m.state = 1
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
	selectTracked = "SELECT " + messageColumns + withoutContent + " FROM messages m INDEXED BY messages_tracked" + messageUsers +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.receipt = 1 AND m.state = 1
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
	countUnread = `SELECT count(*) FROM (SELECT 1 FROM messages INDEXED BY messages_active
		WHERE conversation_id = ? AND seq BETWEEN ? AND ? AND state = 1 AND sender_id <> ? LIMIT ?)`
	// countBetween counts what lies above each of the ranges that the user ?3
	// has read of the stretch ?4 to ?5, newest first.
	countBetween = `SELECT count(*) FROM (SELECT 1 FROM receipts r CROSS JOIN messages m INDEXED BY messages_active
		WHERE r.conversation_id = ?1 AND r.kind = ?2 AND r.user_id = ?3
		AND r.from_seq >= coalesce((SELECT max(from_seq)` + ofReceipts + `AND from_seq <= ?4), ?4) AND r.from_seq <= ?5
		AND m.conversation_id = ?1 AND m.seq >= max(r.to_seq + 1, ?4)
		AND m.seq <= coalesce((SELECT min(from_seq) - 1` + ofReceipts + `AND from_seq > r.from_seq AND from_seq <= ?5), ?5)
		AND m.state = 1 AND m.sender_id <> ?3 ORDER BY r.from_seq DESC LIMIT ?6)`
	// selectFirstRead finds where the first of those ranges begins.
	selectFirstRead = "SELECT from_seq" + ofReceipts +
		"AND from_seq >= coalesce((SELECT max(from_seq)" + ofReceipts + `AND from_seq <= ?4), ?4)
		AND from_seq <= ?5 ORDER BY from_seq LIMIT 1`
)

// Unstarted returns active messages that were sent for burning and have not
// begun to, by others than the user.
func (r *reader) Unstarted(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectUnstarted, conversation, rng, notBy, limit)
}

// Burning returns those that have, without their content.
func (r *reader) Burning(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectBurning, conversation, rng, notBy, limit)
}

// Tracked returns active messages that were sent with receipt, by others than
// the user, without their content.
func (r *reader) Tracked(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectTracked, conversation, rng, notBy, limit)
}

func (r *reader) othersIn(query string, conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	key, err := r.userKey(notBy)
	if err != nil {
		return nil, err
	}
	return r.messages(query, int64(conversation), rng.From, rng.To, key, limit)
}

// Unread counts the messages in the ranges that are active, not by the user
// and not read by them, up to limit. It goes from the newest to the oldest,
// over what lies between the ranges of what was read, and stops at the limit:
// what was read or erased costs nothing, and of what the user has not read
// only their own messages are looked at besides those that count. However many
// ranges they have read, it is the same few statements.
func (r *reader) Unread(conversation im.ID, user im.UserID, ranges []im.SeqRange, limit int) (int, error) {
	key, err := r.userKey(user)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, part := range slices.Backward(ranges) {
		if part.From > part.To || n >= limit {
			continue
		}
		var more int
		of := []any{int64(conversation), int64(im.Read), key, part.From, part.To}
		if _, err := r.session.row(countBetween, append(of, limit-n), &more); err != nil {
			return 0, err
		}
		n += more
		// What is left is below all that was read.
		first := part.To + 1
		if _, err := r.session.row(selectFirstRead, of, &first); err != nil {
			return 0, err
		}
		if first <= part.From || n >= limit {
			continue
		}
		_, err := r.session.row(countUnread, []any{int64(conversation), part.From, first - 1, key, limit - n}, &more)
		if err != nil {
			return 0, err
		}
		n += more
	}
	return n, nil
}
