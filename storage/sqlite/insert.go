package sqlite

import (
	"database/sql"
	"encoding/json"

	"github.com/imapi/imapi/im"
)

const (
	// Counting a message takes two statements, because package im computes the new counts.
	selectCounts = `SELECT last_seq, first_seq, counted, updated_at, listed_at, listed_id, oldest_at
		FROM conversations WHERE id = ?`
	putCounts = `UPDATE conversations SET last_seq = ?, counted = ?, updated_at = ?, listed_at = ?, listed_id = ?
		WHERE id = ?`
	// putSent combines putCounts and putLastEvent.
	putSent = `UPDATE conversations SET last_seq = ?, counted = ?, updated_at = ?, listed_at = ?, listed_id = ?,
		last_event = ?, changed_at = max(changed_at, ?) WHERE id = ?`
	// putOldest is separate because it moves the conversation in an index.
	putOldest = "UPDATE conversations SET first_seq = ?, oldest_at = ? WHERE id = ?"

	insertMessage = `INSERT INTO messages
		(id, conversation_id, seq, sender_id, sender_device, client_id, type, state, reply_to, receipt, created_at,
		quiet, visible_to, timed, ord,
		slot, sealed, expires_at, burn_after, burn_unread_ttl, burn_at, due_at, in_thread)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	// insertMentions inserts the users named ?3 who are members of ?4.
	insertMentions = `INSERT OR IGNORE INTO mentions (conversation_id, seq, user_id)
		SELECT ?1, ?2, m.user_id FROM json_each(?3) j CROSS JOIN users u ON u.name = j.value
		CROSS JOIN members m ON m.user_id = u.id AND m.conversation_id = ?4`
)

// InsertMessage stores a message with the next seq of its conversation, or its own seq if
// that is greater.
func (t *tx) InsertMessage(m im.Message) (seq int64, err error) {
	before, err := t.countsOf(m.Conversation)
	if err != nil {
		return 0, err
	}
	after := before.With(m)
	_, err = t.session.exec(putCounts, after.LastSeq, after.Counted,
		after.UpdatedAt.UnixMilli(), after.ListedAt.UnixMilli(), int64(after.ListedID), int64(m.Conversation))
	if err != nil {
		return 0, err
	}
	return after.LastSeq, t.insertMessage(m, before, after)
}

// Send stores a message and its event with a single update of the conversation.
func (t *tx) Send(m im.Message, e im.Event) (seq int64, at im.Position, err error) {
	before, err := t.countsOf(m.Conversation)
	if err != nil {
		return 0, 0, err
	}
	after := before.With(m)
	m.Seq = after.LastSeq
	e.MessageID, e.Seq, e.Message, e.Position = m.ID, m.Seq, &m, t.last+1
	_, err = t.session.exec(putSent, after.LastSeq, after.Counted,
		after.UpdatedAt.UnixMilli(), after.ListedAt.UnixMilli(), int64(after.ListedID),
		int64(e.Position), e.At.UnixMilli(), int64(m.Conversation))
	if err != nil {
		return 0, 0, err
	}
	if err := t.insertMessage(m, before, after); err != nil {
		return 0, 0, err
	}
	if err := t.insertEvent(e, false); err != nil {
		return 0, 0, err
	}
	if err := t.indexOldest(); err != nil {
		return 0, 0, err
	}
	return m.Seq, e.Position, t.putLastEventOfSpace(e.Conversation, e.Position)
}

// countsOf returns the counts of a conversation.
func (t *tx) countsOf(id im.ID) (im.Counts, error) {
	if t.counted.conversation == id && t.counted.writes == t.session.writes {
		return t.counted.Counts, nil
	}
	var c im.Counts
	var updated, listed int64
	var oldest sql.NullInt64
	found, err := t.session.row(selectCounts, []any{int64(id)},
		&c.LastSeq, &c.FirstSeq, &c.Counted, &updated, &listed, &c.ListedID, &oldest)
	if err != nil || !found {
		return c, orNotFound(err)
	}
	c.UpdatedAt, c.ListedAt, c.OldestAt = fromMillis(updated), fromMillis(listed), optionalTime(oldest)
	return c, nil
}

// insertMessage stores a message that has been counted as the last of its conversation.
func (t *tx) insertMessage(m im.Message, before, after im.Counts) error {
	if before.OldestAt.IsZero() || after.OldestAt.Before(before.OldestAt) {
		if _, err := t.session.exec(putOldest, after.FirstSeq, after.OldestAt.UnixMilli(), int64(m.Conversation)); err != nil {
			return err
		}
	}
	sender, err := t.intern(m.Sender)
	if err != nil {
		return err
	}
	visibleTo, err := t.internOptional(m.VisibleTo)
	if err != nil {
		return err
	}
	at, err := t.info(m.Conversation)
	if err != nil {
		return err
	}
	var slot, sealed any
	if m.Content != nil {
		if slot, sealed, err = t.seal(m.Content.Sent); err != nil {
			return err
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
		int64(m.ID), int64(m.Conversation), after.LastSeq, sender, m.SenderDevice,
		sql.NullString{String: m.ClientID, Valid: m.ClientID != ""}, int64(m.Type), int64(m.State),
		sql.NullInt64{Int64: int64(m.ReplyTo), Valid: m.ReplyTo != 0}, m.Receipt, m.CreatedAt.UnixMilli(),
		m.Quiet, visibleTo, timed(m.ID, m.CreatedAt), after.Counted,
		slot, sealed, optionalMillis(m.ExpiresAt), burnAfter, burnUnread, burnAt, due, at.kind == im.Thread)
	if err != nil {
		return err
	}
	if isDue {
		t.noteDue(dueAt)
	}
	if m.Erased != nil {
		return t.insertErasure(m)
	}
	if err := t.insertMentions(m, at, after.LastSeq, sender); err != nil {
		return err
	}
	if err := t.insertReferences(m); err != nil {
		return err
	}
	t.index(m)
	return nil
}

// insertMentions stores the mentions of a message, for unread counts.
func (t *tx) insertMentions(m im.Message, at convInfo, seq, sender int64) error {
	users, everyone := m.Mentioning()
	if everyone {
		_, err := t.session.exec("INSERT INTO mentions_all (conversation_id, seq, sender_id) VALUES (?, ?, ?)",
			int64(m.Conversation), seq, sender)
		if err != nil {
			return err
		}
	}
	if len(users) == 0 {
		return nil
	}
	names, err := json.Marshal(users)
	if err != nil {
		return err
	}
	members := im.MembersFrom(im.Conversation{ID: m.Conversation, Kind: at.kind, Space: im.ID(at.space)})
	_, err = t.session.exec(insertMentions, int64(m.Conversation), seq, string(names), int64(members))
	return err
}
