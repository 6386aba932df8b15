package sqlite

import (
	"database/sql"
	"encoding/json"

	"github.com/imapi/imapi/im"
)

const (
	// A message is counted in its conversation in two statements: one that
	// returned what it wrote would begin a savepoint, at which FTS5 writes down
	// what it has so far.
	selectCounts = "SELECT last_seq, counted, updated_at, oldest_at FROM conversations WHERE id = ?"
	putCounts    = `UPDATE conversations SET last_seq = ?1, counted = ?2, updated_at = ?3,
		listed_at = max(listed_at, coalesce(?4, listed_at)), listed_id = max(listed_id, coalesce(?5, listed_id)) WHERE id = ?6`
	// putOldest is apart from it, for it moves the conversation in an index.
	putOldest = "UPDATE conversations SET oldest_at = ? WHERE id = ?"
	putFirst  = "UPDATE conversations SET oldest_at = ?, first_seq = ? WHERE id = ?"

	// sender_ord goes on from the sender's message before.
	insertMessage = `INSERT INTO messages
		(id, conversation_id, seq, sender_id, sender_device, client_id, type, state, reply_to, receipt, created_at,
		quiet, visible_to, ord, sender_ord,
		slot, sealed, expires_at, burn_after, burn_unread_ttl, burn_at, due_at, in_thread)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, (NOT ?12) + coalesce((
			SELECT sender_ord FROM messages INDEXED BY messages_by_sender
			WHERE conversation_id = ?2 AND sender_id = ?4 ORDER BY seq DESC LIMIT 1), 0),
		?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)`

	// insertMentions is for those of the users named ?3 who are members, of a
	// channel those of its space, and are not the sender.
	insertMentions = `INSERT OR IGNORE INTO mentions (conversation_id, seq, user_id)
		SELECT ?1, ?2, m.user_id FROM json_each(?3) j CROSS JOIN users u ON u.name = j.value
		CROSS JOIN members m ON m.user_id = u.id AND m.conversation_id = coalesce(
			(SELECT space_id FROM conversations WHERE id = ?1 AND kind = 5), ?1) WHERE u.id <> ?4`
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
	at, err := t.place(m.Conversation)
	if err != nil {
		return 0, err
	}
	seq, ord, err := t.takeSeq(m)
	if err != nil {
		return 0, err
	}
	var slot, sealed any
	if m.Content != nil {
		if slot, sealed, err = t.seal(m.Content.Sent); err != nil {
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
		slot, sealed, optionalMillis(m.ExpiresAt), burnAfter, burnUnread, burnAt, due, at.kind == im.Thread)
	if err != nil {
		return 0, err
	}
	if isDue {
		t.noteDue(dueAt)
	}
	if m.Erased != nil {
		return seq, t.insertErasure(m)
	}
	if err := t.insertMentions(m, seq, sender); err != nil {
		return 0, err
	}
	return seq, t.indexMessage(m)
}

// takeSeq counts a message in its conversation and returns its seq, and how many
// messages were counted up to it.
func (t *tx) takeSeq(m im.Message) (seq, counted int64, err error) {
	id, created := int64(m.Conversation), m.CreatedAt.UnixMilli()
	var updated int64
	var oldest sql.NullInt64
	found, err := t.session.row(selectCounts, []any{id}, &seq, &counted, &updated, &oldest)
	if err != nil || !found {
		return 0, 0, orNotFound(err)
	}
	seq = max(seq+1, m.Seq)
	switch {
	case !m.Quiet:
		counted, updated = counted+1, created
	case m.VisibleTo == "":
		updated = max(updated, created)
	}
	active := sql.NullInt64{Int64: created, Valid: !m.Quiet || m.VisibleTo == ""}
	if _, err := t.session.exec(putCounts, seq, counted, updated, active, sql.NullInt64{Int64: int64(m.ID), Valid: active.Valid}, id); err != nil {
		return 0, 0, err
	}
	switch {
	case !oldest.Valid:
		_, err = t.session.exec(putFirst, created, seq, id)
	case created < oldest.Int64:
		_, err = t.session.exec(putOldest, created, id)
	}
	return seq, counted, err
}

// insertMentions notes whom a message mentions, for their counts.
func (t *tx) insertMentions(m im.Message, seq, sender int64) error {
	if m.Quiet || m.VisibleTo != "" || m.Content == nil {
		return nil
	}
	if m.Content.MentionAll {
		_, err := t.session.exec("INSERT INTO mentions_all (conversation_id, seq, sender_id) VALUES (?, ?, ?)",
			int64(m.Conversation), seq, sender)
		if err != nil {
			return err
		}
	}
	if len(m.Content.Mentions) == 0 {
		return nil
	}
	names, err := json.Marshal(m.Content.Mentions)
	if err != nil {
		return err
	}
	_, err = t.session.exec(insertMentions, int64(m.Conversation), seq, string(names), sender)
	return err
}
