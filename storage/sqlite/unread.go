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

