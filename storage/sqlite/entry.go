package sqlite

import (
	"database/sql"
	"slices"

	"github.com/imapi/imapi/im"
)

// selectEntry and selectDirectEntry load everything that most use cases on a conversation
// need. ?1 is the conversation, or ?1 and ?2 are the users of a direct one; ?3 is the key
// of the acting user, ?4 their name, and ?5 a client_id or NULL. Only the user's newest
// [im.MaxIntervals] stays are loaded.
const (
	selectEntry       = entryOf + "WHERE c.id = ?1 AND ?2 = 0" + entryEnd
	selectDirectEntry = entryOf + "WHERE c.peer_low = ?1 AND c.peer_high = ?2 AND c.deleted_at IS NULL" + entryEnd

	entryOf = "SELECT " + conversationColumns + ", c.listed_id, m.role, m.joined_at, i.from_event, i.to_event, i.from_seq, i.to_seq, i.by_self, n.until, " +
		markColumns + `,
		CASE WHEN c.kind = {direct} THEN EXISTS (SELECT 1 FROM blocks b WHERE b.name = ?4
			AND b.by_id = CASE WHEN c.peer_low = ?3 THEN c.peer_high ELSE c.peer_low END) END,
		(SELECT e.id FROM messages e INDEXED BY messages_by_client_id WHERE e.sender_id = ?3 AND e.client_id = ?5),
		EXISTS (SELECT 1 FROM remembered_messages g INDEXED BY remembered_by_client_id WHERE g.sender_id = ?3 AND g.client_id = ?5)
		FROM conversations c` + conversationUsers + `
		LEFT JOIN intervals i ON i.conversation_id = c.id AND i.user_id = ?3
		LEFT JOIN members m ON m.conversation_id = c.id AND m.user_id = i.user_id
		LEFT JOIN marks k ON k.conversation_id = c.id AND k.user_id = i.user_id
		LEFT JOIN mutes n ON n.conversation_id = c.id AND n.user_id = i.user_id `
	entryEnd = " ORDER BY i.from_event DESC LIMIT {max_intervals}"
)

// Entry returns a conversation, the user's membership in it, and what a send needs.
func (r *reader) Entry(q im.EntryQuery) (im.Entry, error) {
	user, err := r.userKey(q.User)
	if err != nil {
		return im.Entry{}, err
	}
	query, args := selectEntry, []any{int64(q.Conversation), 0, user, string(q.User), sql.NullString{String: q.ClientID, Valid: q.ClientID != ""}}
	if q.Conversation == 0 {
		query = selectDirectEntry
		for i, peer := range im.PeersOf(q.Peers[0], q.Peers[1]) {
			key, err := r.userKey(peer)
			if err != nil || key == 0 {
				return im.Entry{}, orNotFound(err)
			}
			args[i] = key
		}
	}
	var e im.Entry
	var counts im.Counts
	found := false
	err = r.session.list(query, args, func(rows packedRow) (more bool, err error) {
		var role, joined, from, to, fromSeq, toSeq, until, sent sql.NullInt64
		var left, blocked sql.NullBool
		var mark storedMark
		c, err := r.scanConversation(rows, append(append([]any{&counts.ListedID, &role, &joined, &from, &to, &fromSeq, &toSeq, &left, &until},
			mark.dest()...), &blocked, &sent, &e.Gone)...)
		if err != nil {
			return false, err
		}
		if !found {
			found, e.Conversation, e.Blocked, e.Sent = true, c, blocked.Bool, im.ID(sent.Int64)
			e.Membership = im.Membership{Conversation: c.ID, User: q.User}
		}
		if !from.Valid {
			return false, nil
		}
		m := &e.Membership
		if !e.Member {
			e.Member = true
			if role.Valid {
				m.Role, m.JoinedAt = im.Role(role.Int64), fromMillis(joined.Int64)
			}
			m.Mark, m.MutedUntil = mark.mark(), optionalTime(until)
		}
		stay := im.Interval{FromEvent: im.Position(from.Int64), FromSeq: fromSeq.Int64, ToSeq: toSeq.Int64, Left: left.Bool}
		if to.Int64 != int64(im.Latest) {
			stay.ToEvent = im.Position(to.Int64)
		}
		m.Intervals = append(m.Intervals, stay)
		return true, nil
	})
	if err != nil || !found {
		return im.Entry{}, orNotFound(err)
	}
	slices.Reverse(e.Membership.Intervals)
	r.remember(e.Conversation, counts.ListedID)
	return e, nil
}

// remember caches the fields of a conversation that never change, and its counts, which
// stay valid until the next write.
func (r *reader) remember(c im.Conversation, listed im.ID) {
	if r.infos == nil {
		return
	}
	r.infos[c.ID] = convInfo{kind: c.Kind, space: int64(c.Space)}
	r.counted = counted{conversation: c.ID, writes: r.session.writes, Counts: im.Counts{
		LastSeq: c.LastSeq, FirstSeq: c.FirstSeq, Counted: c.Counted,
		UpdatedAt: c.UpdatedAt, ListedAt: c.ListedAt, OldestAt: c.OldestAt, ListedID: listed,
	}}
}

// counted holds the counts of a conversation as of a number of writes of a session.
type counted struct {
	conversation im.ID
	writes       uint64
	im.Counts
}
