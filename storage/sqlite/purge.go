package sqlite

import (
	"database/sql"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// deleteConversations, endIntervals and deleteMembers apply to a conversation and its
	// descendants, whose ids are the last parameter.
	deleteConversations = `UPDATE conversations
		SET deleted_at = ?1, deleted_event = ?2, name_slot = NULL, name = NULL,
			announcement_slot = NULL, announcement = NULL, avatar_slot = NULL, avatar = NULL,
			peer_low = NULL, peer_high = NULL, creator_id = NULL, member_count = 0, trim_before = NULL
		WHERE deleted_at IS NULL AND id IN (SELECT j.value FROM json_each(?3) AS j)`
	endIntervals = `UPDATE intervals INDEXED BY intervals_of_conversation
		SET to_event = ?1, to_seq = (SELECT last_seq FROM conversations WHERE id = intervals.conversation_id)
		WHERE to_event = {open} AND conversation_id IN (SELECT j.value FROM json_each(?2) AS j)`
	deleteMembers = "DELETE FROM members WHERE conversation_id IN (SELECT j.value FROM json_each(?1) AS j)"

	selectUndeleted = "SELECT 1 FROM conversations WHERE id = ? AND deleted_at IS NULL"

	selectPurge = "SELECT last_seq, purged FROM conversations WHERE id = ? AND deleted_at IS NOT NULL"
	putPurged   = "UPDATE conversations SET purged = 1, first_seq = last_seq + 1, oldest_at = NULL WHERE id = ?"

	purgeRanges = `DELETE FROM seq_ranges WHERE conversation_id = ?1 AND (kind, user_id, from_seq) IN
		(SELECT kind, user_id, from_seq FROM seq_ranges WHERE conversation_id = ?1 LIMIT ?2)`
	purgeMarks = `DELETE FROM marks WHERE conversation_id = ?1 AND user_id IN
		(SELECT user_id FROM marks WHERE conversation_id = ?1 LIMIT ?2)`
	purgeMentions = `DELETE FROM mentions WHERE conversation_id = ?1 AND (seq, user_id) IN
		(SELECT seq, user_id FROM mentions WHERE conversation_id = ?1 LIMIT ?2)`
	purgeMentionsAll = `DELETE FROM mentions_all WHERE conversation_id = ?1 AND seq IN
		(SELECT seq FROM mentions_all WHERE conversation_id = ?1 LIMIT ?2)`
	purgeSpoken = `DELETE FROM spoken WHERE conversation_id = ?1 AND user_id IN
		(SELECT user_id FROM spoken WHERE conversation_id = ?1 LIMIT ?2)`
	purgeMutes = `DELETE FROM mutes WHERE conversation_id = ?1 AND user_id IN
		(SELECT user_id FROM mutes WHERE conversation_id = ?1 LIMIT ?2)`
)

// DeleteConversation deletes a conversation and its descendants: it erases their texts,
// ends all memberships, and frees the users of a direct conversation for a new one.
// Versions of roles and access end, and are trimmed with the log. Invitations stay for
// [im.Service.Purge] to end, and [tx.Purge] deletes the rest.
func (t *tx) DeleteConversation(id im.ID, at time.Time, by im.Position) error {
	var one int
	found, err := t.session.row(selectUndeleted, []any{int64(id)}, &one)
	if err != nil || !found {
		return orNotFound(err)
	}
	below, err := t.Descendants(id)
	if err != nil {
		return err
	}
	if _, err := t.session.update(rememberDirect, int64(id)); err != nil {
		return err
	}
	ids := []int64{int64(id)}
	for _, b := range below {
		ids = append(ids, int64(b))
	}
	if err := t.eraseTexts(ids); err != nil {
		return err
	}
	if err := t.updateList(deleteConversations, ids, at.UnixMilli(), int64(by)); err != nil {
		return err
	}
	if err := t.updateList(rememberCreations, ids, at.UnixMilli()); err != nil {
		return err
	}
	for _, query := range []string{endIntervals, endRoleVersions, endAccessVersions, endRoleStaysOf, endListStaysOf} {
		if err := t.updateList(query, ids, int64(by)); err != nil {
			return err
		}
	}
	return t.updateList(deleteMembers, ids)
}

// Purge deletes what is left of a deleted conversation: up to limit messages, as [tx.Trim] does,
// then up to rangeBatch rows each of receipts and hidden messages, marks, mentions, mutes and the
// times for slow mode. It keeps the conversation and the stays of its members, through which
// returning clients learn of the deletion. It returns true once the conversation is purged.
func (t *tx) Purge(id im.ID, limit int, at time.Time) (done bool, err error) {
	conversation := int64(id)
	var lastSeq int64
	found, err := t.session.row(selectPurge, []any{conversation}, &lastSeq, &done)
	if err != nil || !found {
		return false, orNotFound(err)
	}
	if done {
		return true, nil
	}
	progress, err := t.loadTrimProgress(conversation)
	if err != nil {
		return false, err
	}
	through, err := progress.trimEvents(endOfTime, limit)
	if err == nil {
		err = progress.save()
	}
	if err != nil || !through {
		return false, err
	}
	list, err := t.messagesBefore(conversation, endOfTime, limit)
	if err != nil {
		return false, err
	}
	if err := t.deleteWithKeys(conversation, list, at); err != nil {
		return false, err
	}
	if len(list) > 0 {
		var first int64
		oldest, err := t.firstRemaining(conversation, lastSeq, &first)
		if err != nil {
			return false, err
		}
		if err := t.must(putTrim, first, oldest, sql.NullInt64{}, conversation); err != nil || oldest.Valid {
			return false, err
		}
	}
	for _, query := range []string{purgeRanges, purgeMarks, purgeMentions, purgeMentionsAll, purgeMutes, purgeSpoken} {
		n, err := t.session.update(query, conversation, rangeBatch)
		if err != nil || n == rangeBatch {
			return false, err
		}
	}
	if _, err := t.session.update(deleteTrimProgress, conversation); err != nil {
		return false, err
	}
	if _, err := t.session.update(putDirectRemembered, at.UnixMilli(), conversation); err != nil {
		return false, err
	}
	return true, t.must(putPurged, conversation)
}
