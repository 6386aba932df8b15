package sqlite

import (
	"database/sql"
	"encoding/json"
	"math"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	selectTrim      = "SELECT last_seq, first_seq, trim_before FROM conversations WHERE id = ?"
	deletionColumns = "m.id, m.seq, m.created_at, m.type, m.state, m.visible_to IS NOT NULL, m.slot, m.note_slot"
	selectFirstSeq  = "SELECT seq FROM messages INDEXED BY messages_by_seq WHERE conversation_id = ? ORDER BY seq LIMIT 1"
	putTrim         = "UPDATE conversations SET first_seq = ?, oldest_at = ?, trim_before = ? WHERE id = ?"

	deleteMentionsOf  = "DELETE FROM mentions WHERE conversation_id = ?1 AND seq IN (SELECT j.value FROM json_each(?2) AS j)"
	deleteMentionsAll = "DELETE FROM mentions_all WHERE conversation_id = ?1 AND seq IN (SELECT j.value FROM json_each(?2) AS j)"
	deleteMessages    = "DELETE FROM messages WHERE id IN (SELECT j.value FROM json_each(?1) AS j)"
)

// endOfTime is later than the creation of any message, in milliseconds.
const endOfTime = math.MaxInt64

// Trim deletes the oldest messages with everything that belongs to them: first events from
// before the cutoff, then messages, then receipts and hides of trimmed messages, each up to a
// limit, so that a transaction takes a few milliseconds. The trim is done when none of these is
// left.
//
// Events after the cutoff stay until a later trim, or until the log is trimmed. They are
// not delivered, because their messages no longer exist.
func (t *tx) Trim(conversation im.ID, before time.Time, limit int, at time.Time) (im.Trimmed, error) {
	var lastSeq int64
	var step im.Trimmed
	var under sql.NullInt64
	found, err := t.session.row(selectTrim, []any{int64(conversation)}, &lastSeq, &step.FirstSeq, &under)
	if err != nil || !found {
		return step, orNotFound(err)
	}
	cutoff := ceilMillis(before).UnixMilli()
	list, err := t.messagesBefore(int64(conversation), cutoff, limit)
	if err != nil {
		return step, err
	}
	if len(list) == 0 && !under.Valid {
		step.Done = true
		return step, nil
	}
	progress, err := t.loadTrimProgress(int64(conversation))
	if err != nil {
		return step, err
	}
	through, err := progress.trimEvents(cutoff, limit)
	if err != nil {
		return step, err
	}
	if through {
		if err := t.deleteWithKeys(int64(conversation), list, at); err != nil {
			return step, err
		}
		step.Messages, step.Active = len(list), countActive(list)
	}
	oldest, err := t.firstRemaining(int64(conversation), lastSeq, &step.FirstSeq)
	if err != nil {
		return step, err
	}
	if through && (!oldest.Valid || oldest.Int64 >= cutoff) {
		if step.Done, err = progress.trimRanges(step.FirstSeq); err != nil {
			return step, err
		}
	}
	if err := progress.save(); err != nil {
		return step, err
	}
	trimBefore := sql.NullInt64{Int64: cutoff, Valid: !step.Done}
	return step, t.must(putTrim, step.FirstSeq, oldest, trimBefore, int64(conversation))
}

// orNotFound returns im.ErrNotFound for a missing row, unless there is another error.
func orNotFound(err error) error {
	if err == nil {
		err = im.ErrNotFound
	}
	return err
}

// firstRemaining finds the first seq and the oldest time of the remaining messages.
func (t *tx) firstRemaining(conversation, lastSeq int64, first *int64) (oldest sql.NullInt64, err error) {
	found, err := t.session.row(selectFirstSeq, []any{conversation}, first)
	if err != nil {
		return oldest, err
	}
	if !found {
		*first = lastSeq + 1
	}
	return t.oldestAt(conversation)
}

// deletion is a message to delete, with the slots of its keys.
type deletion struct {
	id, seq, created int64
	kind             im.MessageType
	state            im.State
	hidden           bool // visible to one user only
	slot, note       sql.NullInt64
}

// countActive returns the number of messages that are active and visible to every member.
func countActive(list []deletion) (n int) {
	for _, m := range list {
		if m.state == im.Active && !m.hidden {
			n++
		}
	}
	return n
}

func scanDeletion(rows row) (m deletion, err error) {
	err = rows.Scan(&m.id, &m.seq, &m.created, &m.kind, &m.state, &m.hidden, &m.slot, &m.note)
	return m, err
}

// deleteWithKeys dooms the keys of messages and their notes, releases their attachments, and
// deletes the messages with their mentions. It remembers the ids and client_ids of the messages. It
// takes a few statements, however many messages there are.
func (t *tx) deleteWithKeys(conversation int64, list []deletion, at time.Time) error {
	var ids, seqs, slots, attached []int64
	for _, m := range list {
		t.unindex(im.ID(m.id), m.kind)
		if m.kind.HasAttachment() && m.state == im.Active {
			attached = append(attached, m.id)
		}
		ids, seqs = append(ids, m.id), append(seqs, m.seq)
		for _, slot := range []sql.NullInt64{m.slot, m.note} {
			if slot.Valid {
				slots = append(slots, slot.Int64)
			}
		}
	}
	if err := t.doomAll(slots); err != nil {
		return err
	}
	if err := t.releaseAttachments(attached); err != nil {
		return err
	}
	for _, query := range []string{deleteMentionsOf, deleteMentionsAll} {
		if err := t.updateList(query, seqs, conversation); err != nil {
			return err
		}
	}
	if err := t.updateList(rememberMessages, ids, at.UnixMilli()); err != nil {
		return err
	}
	return t.updateList(deleteMessages, ids)
}

// updateList runs a statement whose last argument is a list of numbers.
func (t *tx) updateList(query string, numbers []int64, args ...any) error {
	if len(numbers) == 0 {
		return nil
	}
	list, err := json.Marshal(numbers)
	if err != nil {
		return err
	}
	_, err = t.session.update(query, append(args, string(list))...)
	return err
}
