package sqlite

import (
	"cmp"
	"database/sql"
	"slices"

	"github.com/imapi/imapi/im"
)

const (
	// selectMemberships finds the newest stays of the user ?1 in each of the conversations ?2,
	// the oldest of them first.
	selectMemberships = "SELECT i.conversation_id, m.role, m.joined_at, i.from_event, i.to_event, i.from_seq, i.to_seq, i.by_self, n.until, " + markColumns + `
		FROM json_each(?2) j CROSS JOIN intervals i ON i.conversation_id = j.value AND i.user_id = ?1
			AND i.from_event >= (SELECT min(from_event) FROM (SELECT o.from_event FROM intervals o
				WHERE o.conversation_id = j.value AND o.user_id = ?1 ORDER BY o.from_event DESC LIMIT {max_intervals}))
		LEFT JOIN members m ON m.conversation_id = i.conversation_id AND m.user_id = i.user_id
		LEFT JOIN marks k ON k.conversation_id = i.conversation_id AND k.user_id = i.user_id
		LEFT JOIN mutes n ON n.conversation_id = i.conversation_id AND n.user_id = i.user_id`
	selectMembers = `SELECT u.name, m.role, m.joined_at, n.until, m.user_id
		FROM members m CROSS JOIN users u ON u.id = m.user_id
		LEFT JOIN mutes n ON n.conversation_id = m.conversation_id AND n.user_id = m.user_id
		WHERE m.conversation_id = ? AND m.user_id > ? ORDER BY m.user_id LIMIT ?`
	// selectEveryMember finds the stays of up to ?3 users who are or were members: the next after
	// ?2 in the order of names.
	selectEveryMember = stayColumns + `FROM (
			SELECT u.id AS id FROM (SELECT DISTINCT user_id FROM intervals WHERE conversation_id = ?1) d
			CROSS JOIN users u ON u.id = d.user_id WHERE u.name > ?2 ORDER BY u.name LIMIT ?3
		) p CROSS JOIN users u ON u.id = p.id
		CROSS JOIN intervals i ON i.conversation_id = ?1 AND i.user_id = u.id
		LEFT JOIN members m ON m.conversation_id = ?1 AND m.user_id = u.id`
	selectOwner = `SELECT u.name FROM members m INDEXED BY members_owning
		CROSS JOIN users u ON u.id = m.user_id WHERE m.conversation_id = ? AND m.role = {owner}`
	insertMember = `INSERT INTO members (conversation_id, user_id, role, joined_at, kind, returned_at, parent_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6,
		CASE WHEN ?5 = {thread} THEN (SELECT parent_id FROM conversations WHERE id = ?1) END)`
	endInterval = `UPDATE intervals INDEXED BY intervals_of_user SET to_event = ?, to_seq = ?, by_self = ?
		WHERE conversation_id = ? AND user_id = ? AND to_event = {open}`
)

// Membership returns the membership of a user, present or former, with their mark.
func (r *reader) Membership(conversation im.ID, user im.UserID) (im.Membership, error) {
	list, err := r.Memberships(user, []im.ID{conversation})
	if err == nil && len(list) == 0 {
		err = im.ErrNotFound
	}
	if err != nil {
		return im.Membership{}, err
	}
	return list[0], nil
}

// Memberships returns a user's memberships in the given conversations, present and former. It
// leaves out conversations in which they never had one.
func (r *reader) Memberships(user im.UserID, conversations []im.ID) ([]im.Membership, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	list := make([]im.Membership, 0, len(conversations))
	err = r.session.list(selectMemberships, []any{key, idsJSON(conversations)}, func(rows packedRow) (bool, error) {
		var id im.ID
		var i im.Interval
		var role, joined, toSeq, until sql.NullInt64
		var mark storedMark
		err := rows.Scan(append([]any{&id, &role, &joined, &i.FromEvent, &i.ToEvent, &i.FromSeq, &toSeq, &i.Left, &until}, mark.dest()...)...)
		if err != nil {
			return false, err
		}
		if n := len(list); n == 0 || list[n-1].Conversation != id {
			m := im.Membership{Conversation: id, User: user, Mark: mark.mark(), MutedUntil: optionalTime(until)}
			if role.Valid {
				m.Role, m.JoinedAt = im.Role(role.Int64), fromMillis(joined.Int64)
			}
			list = append(list, m)
		}
		if i.ToEvent == im.Latest {
			i.ToEvent = 0
		}
		i.ToSeq = toSeq.Int64
		m := &list[len(list)-1]
		m.Intervals = append(m.Intervals, i)
		return true, nil
	})
	return list, err
}

// EveryMembership returns the memberships of up to limit present and former members: the next after
// a user in the order of the users' ids. The memberships have no marks.
func (r *reader) EveryMembership(conversation im.ID, after im.UserID, limit int) (list []im.Membership, err error) {
	err = r.session.query(selectEveryMember, []any{int64(conversation), string(after), limit},
		func(rows row) (more bool, err error) {
			list, err = scanStay(rows, conversation, list)
			return true, err
		})
	slices.SortStableFunc(list, func(a, b im.Membership) int { return cmp.Compare(a.User, b.User) })
	return list, err
}

// Members returns a page of the present members. Their order is stable but unspecified.
func (r *reader) Members(conversation im.ID, page im.Page) ([]im.Membership, error) {
	list, _, err := r.members(conversation, page)
	return list, err
}

// members is like Members and also returns the keys of the users.
func (r *reader) members(conversation im.ID, page im.Page) (list []im.Membership, keys []int64, err error) {
	var after int64
	if page.After != "" {
		if after, err = r.userKey(im.UserID(page.After)); err != nil || after == 0 {
			return nil, nil, err
		}
	}
	err = r.session.list(selectMembers, []any{int64(conversation), after, page.Limit},
		func(rows packedRow) (bool, error) {
			m := im.Membership{Conversation: conversation}
			var joined, key int64
			var until sql.NullInt64
			err := rows.Scan(&m.User, &m.Role, &joined, &until, &key)
			m.JoinedAt, m.MutedUntil = fromMillis(joined), optionalTime(until)
			list, keys = append(list, m), append(keys, key)
			return true, err
		})
	return list, keys, err
}

// AddMember makes a user a member, beginning with the event at from and with the next message.
func (t *tx) AddMember(m im.Membership, from im.Position) error {
	user, err := t.intern(m.User)
	if err != nil {
		return err
	}
	var lastSeq int64
	var kind im.Kind
	found, err := t.session.writeRow(
		"UPDATE conversations SET member_count = member_count + 1 WHERE id = ? RETURNING last_seq, kind",
		[]any{int64(m.Conversation)}, &lastSeq, &kind)
	if err != nil {
		return err
	}
	if !found {
		return im.ErrNotFound
	}
	if err := t.insertMember(m, user, kind); err != nil {
		return err
	}
	return t.openInterval(m.Conversation, user, kind, from, lastSeq+1)
}

// insertMember stores a present member of a conversation of a kind.
func (t *tx) insertMember(m im.Membership, user int64, kind im.Kind) error {
	_, err := t.session.exec(insertMember, int64(m.Conversation), user, int64(m.Role), m.JoinedAt.UnixMilli(), int64(kind),
		optionalMillis(m.ReturnedAt))
	return err
}

func (t *tx) openInterval(conversation im.ID, user int64, kind im.Kind, from im.Position, fromSeq int64) error {
	_, err := t.session.exec("INSERT INTO intervals (conversation_id, user_id, from_event, from_seq, in_space) VALUES (?, ?, ?, ?, ?)",
		int64(conversation), user, int64(from), fromSeq, kind == im.Space)
	return err
}

// RemoveMember ends a membership with the event at to and with the newest message.
func (t *tx) RemoveMember(conversation im.ID, user im.UserID, to im.Position, left bool) error {
	key, err := t.userKey(user)
	if err != nil {
		return err
	}
	err = t.must("DELETE FROM members WHERE conversation_id = ? AND user_id = ?", int64(conversation), key)
	if err != nil {
		return err
	}
	var lastSeq int64
	_, err = t.session.writeRow(
		"UPDATE conversations SET member_count = member_count - 1 WHERE id = ? RETURNING last_seq",
		[]any{int64(conversation)}, &lastSeq)
	if err != nil {
		return err
	}
	return t.must(endInterval, int64(to), lastSeq, left, int64(conversation), key)
}

// OwnerOf returns the owner of a conversation.
func (r *reader) OwnerOf(conversation im.ID) (owner im.UserID, err error) {
	found, err := r.session.row(selectOwner, []any{int64(conversation)}, &owner)
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return owner, err
}

// SetRole sets a member's role.
func (t *tx) SetRole(conversation im.ID, user im.UserID, role im.Role) error {
	key, err := t.userKey(user)
	if err != nil {
		return err
	}
	return t.must("UPDATE members SET role = ? WHERE conversation_id = ? AND user_id = ?",
		int64(role), int64(conversation), key)
}
