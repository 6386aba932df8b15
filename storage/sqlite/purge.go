package sqlite

import (
	"database/sql"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	deleteConversation = `UPDATE conversations
		SET deleted_at = ?, deleted_event = ?, name = '', peer_low = NULL, peer_high = NULL, member_count = 0, trim_before = NULL
		WHERE id = ? AND deleted_at IS NULL RETURNING last_seq`
	endIntervals = `UPDATE intervals INDEXED BY intervals_of_conversation SET to_event = ?, to_seq = ?
		WHERE conversation_id = ? AND to_event = 9223372036854775807`
	deleteMembers = "DELETE FROM members WHERE conversation_id = ?"

	selectPurge = "SELECT last_seq, purged FROM conversations WHERE id = ? AND deleted_at IS NOT NULL"
	putPurged   = "UPDATE conversations SET purged = 1, first_seq = last_seq + 1, oldest_at = NULL WHERE id = ?"

	purgeReceipts = `DELETE FROM receipts WHERE conversation_id = ?1 AND (kind, user_id, from_seq) IN
		(SELECT kind, user_id, from_seq FROM receipts WHERE conversation_id = ?1 LIMIT ?2)`
	purgeMarks = `DELETE FROM marks WHERE conversation_id = ?1 AND user_id IN
		(SELECT user_id FROM marks WHERE conversation_id = ?1 LIMIT ?2)`
	purgeMentions = `DELETE FROM mentions WHERE conversation_id = ?1 AND (seq, user_id) IN
		(SELECT seq, user_id FROM mentions WHERE conversation_id = ?1 LIMIT ?2)`
)

// DeleteConversation makes a conversation one that was deleted: its peers may
// have another, and nobody is a member. [tx.Purge] removes what it held.
func (t *tx) DeleteConversation(id im.ID, at time.Time, by im.Position) error {
	var lastSeq int64
	found, err := t.session.writeRow(deleteConversation, []any{at.UnixMilli(), int64(by), int64(id)}, &lastSeq)
	if err != nil || !found {
		return orNotFound(err)
	}
	if _, err := t.session.update(endIntervals, int64(by), lastSeq, int64(id)); err != nil {
		return err
	}
	_, err = t.session.update(deleteMembers, int64(id))
	return err
}

// Purge destroys and removes what is left of a deleted conversation: messages as
// [tx.Trim] does, then receipts, marks and mentions, each up to a number. The
// conversation itself stays, and who was a member when: by that its deletion is
// told to those who come back.
func (t *tx) Purge(id im.ID, limit int) (done bool, err error) {
	conversation := int64(id)
	var lastSeq int64
	found, err := t.session.row(selectPurge, []any{conversation}, &lastSeq, &done)
	if err != nil || !found {
		return false, orNotFound(err)
	}
	if done {
		return true, nil
	}
	rest, err := t.restOf(conversation)
	if err != nil {
		return false, err
	}
	through, err := rest.removeEvents(forEver)
	if err == nil {
		err = rest.save()
	}
	if err != nil || !through {
		return false, err
	}
	list, err := t.messagesBefore(conversation, forEver, limit)
	if err != nil {
		return false, err
	}
	if err := t.removeMessages(conversation, list); err != nil {
		return false, err
	}
	if len(list) > 0 {
		var first int64
		oldest, err := t.firstLeft(conversation, lastSeq, &first)
		if err != nil {
			return false, err
		}
		if err := t.must(putTrim, first, oldest, sql.NullInt64{}, conversation); err != nil || oldest.Valid {
			return false, err
		}
	}
	for _, query := range []string{purgeReceipts, purgeMarks, purgeMentions} {
		n, err := t.session.update(query, conversation, receiptBatch)
		if err != nil || n == receiptBatch {
			return false, err
		}
	}
	if _, err := t.session.update(deleteRemoval, conversation); err != nil {
		return false, err
	}
	return true, t.must(putPurged, conversation)
}
