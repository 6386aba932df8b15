package sqlite

import (
	"github.com/imapi/imapi/im"
)

const (
	selectUnstarted = "SELECT " + messageColumns + withContent + " FROM messages m INDEXED BY messages_unstarted " +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.burn_after IS NOT NULL AND m.burn_at IS NULL AND m.state = {active}
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
	selectBurning = "SELECT " + messageColumns + withoutContent + " FROM messages m INDEXED BY messages_burning " +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.burn_at IS NOT NULL AND m.state = {active}
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
	selectTracked = "SELECT " + messageColumns + withoutContent + " FROM messages m INDEXED BY messages_tracked " +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.receipt = 1 AND m.state = {active}
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
)

// Unstarted returns active messages of others that burn after reading and have not been
// read.
func (r *reader) Unstarted(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectUnstarted, conversation, rng, notBy, limit)
}

// Burning returns active messages of others whose burn has started, without their content.
func (r *reader) Burning(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectBurning, conversation, rng, notBy, limit)
}

// Tracked returns active messages of others that were sent with receipt, without their
// content.
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
