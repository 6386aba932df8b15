package sqlite

import (
	"encoding/json"

	"github.com/imapi/imapi/im"
)

// These queries take many keys at once. With one statement per message, an import would spend most
// of its time in them.
const (
	selectTaken  = "SELECT m.id FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value"
	selectSentAs = `SELECT j.key FROM json_each(?) j CROSS JOIN users u ON u.name = j.value ->> 0
		CROSS JOIN messages m INDEXED BY messages_by_client_id ON m.sender_id = u.id AND m.client_id = j.value ->> 1`
)

// Taken returns those of the given ids that belong to messages.
func (r *reader) Taken(ids []im.ID) ([]im.ID, error) { return r.idsAmong(selectTaken, ids) }

// idsAmong runs a query that returns some of a list of ids.
func (r *reader) idsAmong(query string, ids []im.ID) ([]im.ID, error) {
	values := make([]int64, len(ids))
	for i, id := range ids {
		values[i] = int64(id)
	}
	b, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	return r.ids(query, string(b))
}

// SentAs returns those of the given keys that belong to messages.
func (r *reader) SentAs(keys []im.ClientKey) ([]im.ClientKey, error) {
	return r.keysAmong(selectSentAs, keys)
}

// keysAmong runs a query that finds the indexes of some of a list of keys, and returns those keys.
func (r *reader) keysAmong(query string, keys []im.ClientKey) (list []im.ClientKey, err error) {
	values := make([][2]string, len(keys))
	for i, k := range keys {
		values[i] = [2]string{string(k.Sender), k.ClientID}
	}
	b, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	err = r.session.query(query, []any{string(b)}, func(rows row) (bool, error) {
		var i int
		err := rows.Scan(&i)
		list = append(list, keys[i])
		return true, err
	})
	return list, err
}

// RestoreMember stores a membership with all of its stays. A stay that lasts begins with the event
// at from. Stays that have ended get negative positions in the same order. Positions of the log are
// positive, so no event falls into them.
func (t *tx) RestoreMember(m im.Membership, from im.Position) error {
	user, err := t.intern(m.User)
	if err != nil {
		return err
	}
	at, err := t.info(m.Conversation)
	if err != nil {
		return err
	}
	if m.Active() {
		err := t.must("UPDATE conversations SET member_count = member_count + 1 WHERE id = ?", int64(m.Conversation))
		if err != nil {
			return err
		}
		if err := t.insertMember(m, user, at.kind); err != nil {
			return err
		}
	}
	for i, stay := range m.Intervals {
		if stay.Open() {
			err = t.openInterval(m.Conversation, user, at.kind, from, stay.FromSeq)
		} else {
			past := int64(2 * (i - len(m.Intervals)))
			_, err = t.session.exec("INSERT INTO intervals (conversation_id, user_id, from_event, to_event, from_seq, to_seq, by_self) VALUES (?, ?, ?, ?, ?, ?, ?)",
				int64(m.Conversation), user, past, past+1, stay.FromSeq, stay.ToSeq, stay.Left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// insertErasure stores the erasure of a message that was imported as a tombstone. The
// message has no erase_stamp: it never existed here, so clients need not learn of its
// erasure.
func (t *tx) insertErasure(m im.Message) error {
	by, err := t.internOptional(m.Erased.By)
	if err != nil {
		return err
	}
	noteSlot, note, err := t.sealNote(*m.Erased)
	if err != nil {
		return err
	}
	return t.must("UPDATE messages SET erased_at = ?, erased_by = ?, note_slot = ?, note = ? WHERE id = ?",
		m.Erased.At.UnixMilli(), by, noteSlot, note, int64(m.ID))
}
