package sqlite

import (
	"database/sql"
	"encoding/json"

	"github.com/imapi/imapi/im"
)

const (
	// takeSeq makes room for a message ?1 of the conversation: with its own seq
	// ?2 if that is greater than the next one. ?3 says whether it counts, ?4
	// whether all can see it, ?5 when it was created.
	takeSeq = `UPDATE conversations SET last_seq = max(last_seq + 1, ?2), counted = counted + ?3,
		updated_at = CASE WHEN ?3 THEN ?5 WHEN ?4 THEN max(updated_at, ?5) ELSE updated_at END
		WHERE id = ?1 RETURNING last_seq, counted, oldest_at`
	// makeOldest is apart from it, for it moves the conversation in an index.
	makeOldest = "UPDATE conversations SET oldest_at = ? WHERE id = ?"
	makeFirst  = "UPDATE conversations SET oldest_at = ?, first_seq = ? WHERE id = ?"

	// sender_ord goes on from the sender's message before.
	insertMessage = `INSERT INTO messages
		(id, conversation_id, seq, sender_id, sender_device, client_id, type, state, reply_to, receipt, created_at,
		quiet, visible_to, ord, sender_ord,
		content_id, expires_at, burn_after, burn_unread_ttl, burn_at, due_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, (NOT ?12) + coalesce((
			SELECT sender_ord FROM messages INDEXED BY messages_by_sender
			WHERE conversation_id = ?2 AND sender_id = ?4 ORDER BY seq DESC LIMIT 1), 0),
		?15, ?16, ?17, ?18, ?19, ?20)`

	// insertMentions is for those of the users named ?3 who are members, and are
	// not the sender.
	insertMentions = `INSERT OR IGNORE INTO mentions (conversation_id, seq, user_id)
		SELECT ?1, ?2, m.user_id FROM json_each(?3) j CROSS JOIN users u ON u.name = j.value
		CROSS JOIN members m ON m.conversation_id = ?1 AND m.user_id = u.id WHERE u.id <> ?4`
)

// InsertMessage stores a message under the next seq of its conversation or its
// own.
func (t *tx) InsertMessage(m im.Message) (seq int64, err error) {
	sender, err := t.intern(m.Sender)
	if err != nil {
		return 0, err
	}
	visibleTo, err := t.internOptional(m.VisibleTo)
	if err != nil {
		return 0, err
	}
	seq, ord, err := t.takeSeq(m)
	if err != nil {
		return 0, err
	}
	var content any
	if m.Content != nil {
		if content, err = t.insertContent(m.Content.Sent); err != nil {
			return 0, err
		}
	}
	var burnAfter, burnUnread, burnAt, due sql.NullInt64
	if b := m.Burn; b != nil {
		burnAfter = sql.NullInt64{Int64: b.After.Milliseconds(), Valid: true}
		burnUnread = sql.NullInt64{Int64: b.UnreadTTL.Milliseconds(), Valid: true}
		burnAt = optionalMillis(b.At)
	}
	dueAt, _, isDue := m.Due()
	if isDue {
		due = optionalMillis(dueAt)
	}
	_, err = t.session.exec(insertMessage,
		int64(m.ID), int64(m.Conversation), seq, sender, m.SenderDevice,
		sql.NullString{String: m.ClientID, Valid: m.ClientID != ""}, int64(m.Type), int64(m.State),
		sql.NullInt64{Int64: int64(m.ReplyTo), Valid: m.ReplyTo != 0}, m.Receipt, m.CreatedAt.UnixMilli(),
		m.Quiet, visibleTo, ord,
		content, optionalMillis(m.ExpiresAt), burnAfter, burnUnread, burnAt, due)
	if err != nil {
		return 0, err
	}
	if isDue {
		t.noteDue(dueAt)
	}
	if m.Erased != nil {
		return seq, t.insertErasure(m)
	}
	return seq, t.insertMentions(m, seq, sender)
}

// takeSeq counts a message in its conversation and returns its seq, and how many
// messages were counted up to it.
func (t *tx) takeSeq(m im.Message) (seq, ord int64, err error) {
	created := m.CreatedAt.UnixMilli()
	var oldest sql.NullInt64
	found, err := t.session.writeRow(takeSeq,
		[]any{int64(m.Conversation), m.Seq, !m.Quiet, m.VisibleTo == "", created}, &seq, &ord, &oldest)
	switch {
	case err != nil:
	case !found:
		err = im.ErrNotFound
	case !oldest.Valid:
		_, err = t.session.exec(makeFirst, created, seq, int64(m.Conversation))
	case created < oldest.Int64:
		_, err = t.session.exec(makeOldest, created, int64(m.Conversation))
	}
	return seq, ord, err
}

// insertMentions notes whom a message mentions, for their counts.
func (t *tx) insertMentions(m im.Message, seq, sender int64) error {
	if m.Quiet || m.VisibleTo != "" || m.Content == nil || len(m.Content.Mentions) == 0 {
		return nil
	}
	names, err := json.Marshal(m.Content.Mentions)
	if err != nil {
		return err
	}
	_, err = t.session.exec(insertMentions, int64(m.Conversation), seq, string(names), sender)
	return err
}
