package sqlite

import (
	"database/sql"
	"encoding/json"

	"github.com/imapi/imapi/im"
)

const markColumns = `k.pinned_at, k.muted, k.cleared_seq, k.hidden_seq, k.hidden_before, k.hidden_at,
	k.gone_counted, k.changed_at`

// notHiddenCount is the gone_counted of a conversation that is not hidden from the list.
const notHiddenCount = -1

const (
	putMark = `INSERT INTO marks (conversation_id, user_id, pinned_at, muted, cleared_seq, hidden_seq,
			hidden_before, hidden_at, gone_counted, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET pinned_at = excluded.pinned_at, muted = excluded.muted,
			cleared_seq = excluded.cleared_seq, hidden_seq = excluded.hidden_seq,
			hidden_before = excluded.hidden_before, hidden_at = excluded.hidden_at,
			gone_counted = excluded.gone_counted, changed_at = excluded.changed_at`
	selectMark   = "SELECT " + markColumns + " FROM marks k WHERE k.conversation_id = ? AND k.user_id = ?"
	selectMuting = `SELECT u.name FROM json_each(?1) j CROSS JOIN users u ON u.name = j.value
		CROSS JOIN marks k ON k.conversation_id = ?2 AND k.user_id = u.id AND k.muted = 1`
)

// storedMark is a row of marks, or the NULLs of a join without one.
type storedMark struct {
	pinned, cleared, hidden, before, hiddenAt, gone, changed sql.NullInt64

	muted sql.NullBool
}

// dest returns the destinations of markColumns.
func (s *storedMark) dest() []any {
	return []any{&s.pinned, &s.muted, &s.cleared, &s.hidden, &s.before, &s.hiddenAt, &s.gone, &s.changed}
}

func (s *storedMark) mark() im.Mark {
	m := im.Mark{
		PinnedAt: optionalTime(s.pinned), Muted: s.muted.Bool,
		ClearedSeq: s.cleared.Int64, HiddenSeq: s.hidden.Int64,
		HiddenBefore: optionalTime(s.before), HiddenAt: optionalTime(s.hiddenAt), ChangedAt: optionalTime(s.changed),
	}
	if s.gone.Valid && s.gone.Int64 != notHiddenCount {
		m.Gone, m.GoneCounted = true, s.gone.Int64
	}
	return m
}

// PutMark stores a user's settings for a conversation.
func (t *tx) PutMark(conversation im.ID, user im.UserID, m im.Mark) error {
	key, err := t.intern(user)
	if err != nil {
		return err
	}
	gone := int64(notHiddenCount)
	if m.Gone {
		gone = m.GoneCounted
	}
	_, err = t.session.exec(putMark, int64(conversation), key, optionalMillis(m.PinnedAt), m.Muted,
		m.ClearedSeq, m.HiddenSeq, optionalMillis(m.HiddenBefore), optionalMillis(m.HiddenAt),
		gone, m.ChangedAt.UnixMilli())
	return err
}

// Mark returns a user's settings for a conversation. The user need not be a member.
func (r *reader) Mark(conversation im.ID, user im.UserID) (im.Mark, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return im.Mark{}, err
	}
	var mark storedMark
	_, err = r.session.row(selectMark, []any{int64(conversation), key}, mark.dest()...)
	return mark.mark(), err
}

// Muting returns the users in a list who have muted the conversation for themselves.
func (r *reader) Muting(conversation im.ID, users []im.UserID) (list []im.UserID, err error) {
	if len(users) == 0 {
		return nil, nil
	}
	names, err := json.Marshal(users)
	if err != nil {
		return nil, err
	}
	return r.session.users(selectMuting, string(names), int64(conversation))
}
