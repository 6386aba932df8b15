package sqlite

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"slices"

	"github.com/imapi/imapi/im"
)

// stayColumns are a user and one of their stays. Statements return the stays of a user
// together, the oldest first.
const stayColumns = "SELECT u.name, m.role, m.joined_at, i.from_event, i.to_event, i.from_seq, i.to_seq, i.by_self "

const (
	selectMemberCount = "SELECT member_count FROM conversations WHERE id = ?"
	// selectMembersAtByUser finds which of a list of users were members of ?2 at position
	// ?3: those whose last stay that began by then reaches ?3. LIMIT -1 means no limit; it
	// makes SQLite check that once for each user, not for each stay. As in
	// selectMemberships, only the newest [im.MaxIntervals] stays are returned.
	selectMembersAtByUser = stayColumns + `, i.user_id FROM (
			SELECT u.id AS id, (SELECT min(from_event) FROM (SELECT n.from_event FROM intervals n
				WHERE n.conversation_id = ?2 AND n.user_id = u.id ORDER BY n.from_event DESC LIMIT {max_intervals})) AS since
			FROM json_each(?1) j CROSS JOIN users u ON u.name = j.value
			WHERE (SELECT w.to_event FROM intervals w WHERE w.conversation_id = ?2 AND w.user_id = u.id
				AND w.from_event <= ?3 ORDER BY w.from_event DESC LIMIT 1) >= ?3 LIMIT -1) p
		CROSS JOIN users u ON u.id = p.id
		CROSS JOIN intervals i ON i.conversation_id = ?2 AND i.user_id = p.id AND i.from_event >= p.since
		LEFT JOIN members m ON m.conversation_id = ?2 AND m.user_id = p.id`
	// selectMembersAt finds all members of ?1 at position ?2: present members, and those who have
	// left since.
	selectMembersAt = stayColumns + `, i.user_id FROM intervals w INDEXED BY intervals_of_conversation
		CROSS JOIN users u ON u.id = w.user_id
		CROSS JOIN intervals i ON i.conversation_id = ?1 AND i.user_id = w.user_id
		LEFT JOIN members m ON m.conversation_id = ?1 AND m.user_id = w.user_id
		WHERE w.conversation_id = ?1 AND w.to_event >= ?2 AND w.from_event <= ?2`
	selectMembersAtSeq = `SELECT u.name FROM intervals i INDEXED BY intervals_by_seq
		CROSS JOIN users u ON u.id = i.user_id
		WHERE i.conversation_id = ?1 AND coalesce(i.to_seq, {open}) >= ?2 AND i.from_seq <= ?2
		ORDER BY u.name LIMIT ?3`
)

// scanStay reads a stay, and the columns after those of the stay into the variables to which the
// pointers in also point. It adds the stay to the last membership of the list if that is of the
// same user, and otherwise to a new membership that it appends.
func scanStay(rows row, conversation im.ID, list []im.Membership, also ...any) ([]im.Membership, error) {
	m := im.Membership{Conversation: conversation}
	var i im.Interval
	var role, joined, toSeq sql.NullInt64
	err := rows.Scan(append([]any{&m.User, &role, &joined, &i.FromEvent, &i.ToEvent, &i.FromSeq, &toSeq, &i.Left}, also...)...)
	if role.Valid {
		m.Role, m.JoinedAt = im.Role(role.Int64), fromMillis(joined.Int64)
	}
	if i.ToEvent == im.Latest {
		i.ToEvent = 0
	}
	i.ToSeq = toSeq.Int64
	if n := len(list); n == 0 || list[n-1].User != m.User {
		list = append(list, m)
	}
	last := &list[len(list)-1]
	last.Intervals = append(last.Intervals, i)
	return list, err
}

// MembersAt returns which of the users were members at the time of an event, without
// duplicates. It looks up the users or scans the members, whichever are fewer.
func (r *reader) MembersAt(conversation im.ID, at im.Position, users []im.UserID) ([]im.Membership, error) {
	return r.membersAt(conversation, at, users, nil)
}

// membersAt is like MembersAt and also stores the users' keys in keys, unless that is nil.
func (r *reader) membersAt(conversation im.ID, at im.Position, users []im.UserID, keys map[im.UserID]int64) ([]im.Membership, error) {
	if len(users) == 0 {
		return nil, nil
	}
	count := 1
	if len(users) > 1 {
		if _, err := r.session.row(selectMemberCount, []any{int64(conversation)}, &count); err != nil {
			return nil, err
		}
	}
	var members []im.Membership
	collect := func(rows row) (more bool, err error) {
		var key int64
		members, err = scanStay(rows, conversation, members, &key)
		if keys != nil {
			keys[members[len(members)-1].User] = key
		}
		return true, err
	}
	if len(users) <= count {
		users = slices.Compact(slices.Sorted(slices.Values(users)))
		names, err := json.Marshal(users)
		if err != nil {
			return nil, err
		}
		err = r.session.query(selectMembersAtByUser, []any{string(names), int64(conversation), int64(at)}, collect)
		return members, err
	}
	if err := r.session.query(selectMembersAt, []any{int64(conversation), int64(at)}, collect); err != nil {
		return nil, err
	}
	wanted := make(map[im.UserID]bool, len(users))
	for _, u := range users {
		wanted[u] = true
	}
	members = slices.DeleteFunc(members, func(m im.Membership) bool { return !wanted[m.User] })
	slices.SortFunc(members, func(a, b im.Membership) int { return cmp.Compare(a.User, b.User) })
	return members, nil
}

// MembersAtSeq returns the members at the time a message was sent, in the order of users.
func (r *reader) MembersAtSeq(conversation im.ID, seq int64, limit int) ([]im.UserID, error) {
	return r.session.users(selectMembersAtSeq, int64(conversation), seq, limit)
}
