package sqlite

import (
	"database/sql"
	"errors"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	selectActive     = "SELECT conversation_id, seq, type, slot FROM messages WHERE id = ? AND state = {active}"
	deleteMentions   = "DELETE FROM mentions WHERE conversation_id = ? AND seq = ?"
	deleteMentionAll = "DELETE FROM mentions_all WHERE conversation_id = ? AND seq = ?"
	// erase_stamp never decreases, even if the clock goes back: a client that has asked for
	// erasures up to a time need not ask for that time again.
	eraseRow = `UPDATE messages SET state = ?1, erased_at = ?2, erased_by = ?3,
		erase_stamp = max(?4, coalesce((SELECT erase_stamp FROM messages INDEXED BY messages_by_erase_stamp
			WHERE erase_stamp IS NOT NULL ORDER BY erase_stamp DESC LIMIT 1), ?4)),
		note_slot = ?5, note = ?6, sealed = NULL, due_at = NULL
		WHERE id = ?7 AND state = {active}`

	selectDue = "SELECT " + messageColumns + withContent + " FROM messages m INDEXED BY messages_due " +
		"WHERE m.due_at <= ? ORDER BY m.due_at, m.id LIMIT ?"
	selectNextDue = "SELECT due_at FROM messages INDEXED BY messages_due WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1"
)

// Erase makes an active message a tombstone. The key of its content is shredded after the
// commit. It returns false if the message is not active.
func (t *tx) Erase(id im.ID, e im.Erasure, stamp time.Time) (bool, error) {
	var conversation, seq int64
	var kind im.MessageType
	var slot sql.NullInt64
	active, err := t.session.row(selectActive, []any{int64(id)}, &conversation, &seq, &kind, &slot)
	if err != nil || !active {
		return false, err
	}
	by, err := t.internOptional(e.By)
	if err != nil {
		return false, err
	}
	t.unindex(id, kind)
	for _, query := range []string{deleteMentions, deleteMentionAll} {
		if _, err := t.session.exec(query, conversation, seq); err != nil {
			return false, err
		}
	}
	noteSlot, note, err := t.sealNote(e)
	if err != nil {
		return false, err
	}
	err = t.must(eraseRow, int64(e.State), e.At.UnixMilli(), by, stamp.UnixMilli(), noteSlot, note, int64(id))
	if err == nil && slot.Valid {
		err = t.doom(slot.Int64, e.State.ShredCode(), id)
	}
	if err == nil && kind.HasAttachment() {
		err = t.releaseAttachments([]int64{int64(id)})
	}
	return err == nil, err
}

const (
	selectStamp = "SELECT value FROM meta WHERE key = 'stamp'"
	putStamp    = "UPDATE meta SET value = ? WHERE key = 'stamp'"
)

// Stamped returns the latest result of Stamp, zero if there is none.
func (r *reader) Stamped() (time.Time, error) {
	var last int64
	found, err := r.session.row(selectStamp, nil, &last)
	if err == nil && !found {
		err = errors.New("the latest stamp is missing")
	}
	if err != nil || last == 0 {
		return time.Time{}, err
	}
	return fromMillis(last), nil
}

// Stamp returns now or, if that is later, the millisecond after the latest stamp of earlier
// transactions. Calls in the same batch are committed together and may get the same stamp.
func (t *tx) Stamp(now time.Time) (time.Time, error) {
	if t.stamp.IsZero() {
		last, err := t.Stamped()
		if err != nil {
			return time.Time{}, err
		}
		if !last.IsZero() {
			last = last.Add(time.Millisecond)
		}
		t.stamp = last
	} else if !now.After(t.stamp) {
		return t.stamp, nil
	}
	if now.After(t.stamp) {
		t.stamp = now
	}
	return t.stamp, t.must(putStamp, t.stamp.UnixMilli())
}

// StartBurn sets the time at which an active message burns.
func (t *tx) StartBurn(id im.ID, at time.Time) error {
	m, err := t.Message(id)
	if err != nil {
		return err
	}
	if m.State != im.Active || m.Burn == nil {
		return im.ErrNotFound
	}
	m.Burn.At = at
	due, _, _ := m.Due()
	err = t.must("UPDATE messages SET burn_at = ?, due_at = ? WHERE id = ? AND state = {active}",
		at.UnixMilli(), due.UnixMilli(), int64(id))
	if err == nil {
		t.noteDue(due)
	}
	return err
}

// Due returns messages that expire or burn at or before now, the earliest first. A message
// whose content cannot be read is returned with empty content, so that it is erased and
// does not block the others.
func (r *reader) Due(now time.Time, limit int) (list []im.Message, err error) {
	err = r.session.query(selectDue, []any{now.UnixMilli(), limit}, func(rows row) (bool, error) {
		m, err := r.scanMessage(rows)
		if errors.Is(err, errContent) {
			r.session.logger.Error("content of a due message cannot be read", "message_id", m.ID)
			m.Content, err = &im.Content{}, nil
		}
		list = append(list, m)
		return true, err
	})
	return list, err
}

// NextDue returns when the next message expires or burns.
func (r *reader) NextDue() (time.Time, bool, error) {
	var due sql.NullInt64
	found, err := r.session.row(selectNextDue, nil, &due)
	return optionalTime(due), found, err
}
