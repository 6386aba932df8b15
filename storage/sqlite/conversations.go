package sqlite

import (
	"database/sql"
	"strconv"
	"time"

	"github.com/imapi/imapi/im"
)

const conversationColumns = `c.id, c.kind, c.name_slot, c.name, c.history, l.name, h.name, c.member_count,
	c.last_seq, c.first_seq, c.counted, c.oldest_at, c.last_event, c.created_at, c.updated_at, c.edited_at,
	c.revoke_window, c.expire_after, c.retention, c.trim_before, c.deleted_at,
	c.announcement_slot, c.announcement, c.avatar_slot, c.avatar, c.join_policy, c.invite_policy, c.mute_all, c.slow_mode, c.private, c.revoke_others_window,
	c.parent_id, c.root_id, c.space_id, r.name, c.messages, c.active_at, c.listed_at`

const conversationUsers = ` LEFT JOIN users l ON l.id = c.peer_low LEFT JOIN users h ON h.id = c.peer_high
	LEFT JOIN users r ON r.id = c.creator_id `

const (
	selectConversation = "SELECT " + conversationColumns + " FROM conversations c" + conversationUsers +
		"WHERE c.id = ?"
	selectConversationsByID = "SELECT " + conversationColumns + " FROM json_each(?) j CROSS JOIN conversations c ON c.id = j.value" + conversationUsers
	selectDirect            = "SELECT " + conversationColumns + " FROM conversations c" + conversationUsers +
		"WHERE c.peer_low = ? AND c.peer_high = ? AND c.deleted_at IS NULL"
	selectConversationIDs = "SELECT id FROM conversations WHERE id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?"
)

// scanConversation reads a conversation, and the columns after those of the conversation into the
// variables to which the pointers in also point.
func (r *reader) scanConversation(rows row, also ...any) (im.Conversation, error) {
	var c im.Conversation
	var low, high, creator sql.NullString
	var created, updated, edited, listed, expireAfter, slowMode int64
	var oldest, window, retention, trimBefore, deleted sql.NullInt64
	var othersWindow, parent, root, space, active sql.NullInt64
	var t texts
	err := rows.Scan(append([]any{
		&c.ID, &c.Kind, &t.name.slot, &t.name.sealed, &c.History, &low, &high, &c.MemberCount,
		&c.LastSeq, &c.FirstSeq, &c.Counted, &oldest, &c.LastEvent, &created, &updated, &edited,
		&window, &expireAfter, &retention, &trimBefore, &deleted,
		&t.announcement.slot, &t.announcement.sealed, &t.avatar.slot, &t.avatar.sealed, &c.Join, &c.Invite, &c.MuteAll, &slowMode, &c.Private, &othersWindow,
		&parent, &root, &space, &creator, &c.Messages, &active, &listed,
	}, also...)...)
	if err != nil {
		return c, err
	}
	c.Peers = [2]im.UserID{im.UserID(low.String), im.UserID(high.String)}
	c.CreatedAt, c.UpdatedAt, c.EditedAt = fromMillis(created), fromMillis(updated), fromMillis(edited)
	c.OldestAt, c.TrimBefore, c.DeletedAt = optionalTime(oldest), optionalTime(trimBefore), optionalTime(deleted)
	c.RevokeWindow, c.Retention = optionalDuration(window), optionalDuration(retention)
	c.ExpireAfter = time.Duration(expireAfter) * time.Millisecond
	c.RevokeOthersWindow, c.SlowMode = optionalDuration(othersWindow), time.Duration(slowMode)*time.Millisecond
	c.Parent, c.Root, c.Space, c.Creator = im.ID(parent.Int64), im.ID(root.Int64), im.ID(space.Int64), im.UserID(creator.String)
	c.ActiveAt, c.ListedAt = optionalTime(active), fromMillis(listed)
	return c, r.readTexts(t, &c)
}

func (r *reader) conversation(query string, args ...any) (c im.Conversation, err error) {
	found := false
	err = r.session.list(query, args, func(rows packedRow) (bool, error) {
		found = true
		c, err = r.scanConversation(rows)
		return false, err
	})
	if err == nil && !found {
		err = im.ErrNotFound
	}
	if err == nil && r.infos != nil {
		r.infos[c.ID] = convInfo{kind: c.Kind, space: int64(c.Space)}
	}
	return c, err
}

// convInfo holds the fields of a conversation that never change.
type convInfo struct {
	kind  im.Kind
	space int64 // 0 if none
}

const selectInfo = "SELECT kind, coalesce(space_id, 0) FROM conversations WHERE id = ?"

// info returns the convInfo of a conversation. Most use cases have read the conversation before.
func (t *tx) info(id im.ID) (convInfo, error) {
	p, ok := t.infos[id]
	if ok {
		return p, nil
	}
	found, err := t.session.row(selectInfo, []any{int64(id)}, &p.kind, &p.space)
	if err != nil || !found {
		return p, orNotFound(err)
	}
	t.infos[id] = p
	return p, nil
}

// Conversation returns a conversation by its id.
func (r *reader) Conversation(id im.ID) (im.Conversation, error) {
	return r.conversation(selectConversation, int64(id))
}

// ConversationsByID returns the conversations of a list that exist, in its order.
func (r *reader) ConversationsByID(ids []im.ID) (list []im.Conversation, err error) {
	list = make([]im.Conversation, 0, len(ids))
	err = r.session.list(selectConversationsByID, []any{idsJSON(ids)}, func(rows packedRow) (bool, error) {
		c, err := r.scanConversation(rows)
		list = append(list, c)
		return true, err
	})
	return list, err
}

// idsJSON encodes ids for SQL.
func idsJSON(ids []im.ID) string {
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return string(append(b, ']'))
}

// DirectConversation returns the direct conversation of two users.
func (r *reader) DirectConversation(peers [2]im.UserID) (im.Conversation, error) {
	peers = im.PeersOf(peers[0], peers[1])
	var keys [2]int64
	for i, peer := range peers {
		key, err := r.userKey(peer)
		if err != nil {
			return im.Conversation{}, err
		}
		if key == 0 {
			return im.Conversation{}, im.ErrNotFound
		}
		keys[i] = key
	}
	return r.conversation(selectDirect, keys[0], keys[1])
}

// ConversationIDs returns ids of conversations that are not deleted, ascending.
func (r *reader) ConversationIDs(after im.ID, limit int) ([]im.ID, error) {
	return r.ids(selectConversationIDs, orFirst(after), limit)
}

// ids runs a query that returns ids.
func (r *reader) ids(query string, args ...any) (list []im.ID, err error) {
	err = r.session.query(query, args, func(rows row) (bool, error) {
		var id im.ID
		err := rows.Scan(&id)
		list = append(list, id)
		return true, err
	})
	return list, err
}

// CreateConversation stores a new conversation without members.
func (t *tx) CreateConversation(c im.Conversation) error {
	var low, high any
	if c.Kind == im.Direct {
		peers := im.PeersOf(c.Peers[0], c.Peers[1])
		var err error
		if low, err = t.intern(peers[0]); err != nil {
			return err
		}
		if high, err = t.intern(peers[1]); err != nil {
			return err
		}
	}
	creator, err := t.internOptional(c.Creator)
	if err != nil {
		return err
	}
	sealed, err := t.replaceTexts(texts{}, c)
	if err != nil {
		return err
	}
	_, err = t.session.exec(`INSERT INTO conversations
		(id, kind, name_slot, name, history, peer_low, peer_high, created_at, updated_at, edited_at, changed_at, listed_at,
		revoke_window, expire_after, retention,
		announcement_slot, announcement, avatar_slot, avatar,
		join_policy, invite_policy, mute_all, slow_mode, private, revoke_others_window,
		parent_id, root_id, space_id, creator_id, messages, active_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(c.ID), int64(c.Kind), sealed.name.slot, sealed.name.sealed, int64(c.History), low, high,
		c.CreatedAt.UnixMilli(), c.UpdatedAt.UnixMilli(), c.EditedAt.UnixMilli(), c.CreatedAt.UnixMilli(),
		c.CreatedAt.UnixMilli(),
		durationMillis(c.RevokeWindow), c.ExpireAfter.Milliseconds(), durationMillis(c.Retention),
		sealed.announcement.slot, sealed.announcement.sealed, sealed.avatar.slot, sealed.avatar.sealed,
		int64(c.Join), int64(c.Invite), c.MuteAll, c.SlowMode.Milliseconds(), c.Private,
		durationMillis(c.RevokeOthersWindow),
		optionalID(c.Parent), optionalID(c.Root), optionalID(c.Space), creator, c.Messages, optionalMillis(c.ActiveAt))
	return err
}

// UpdateConversation stores the settings and texts of a conversation, UpdatedAt, EditedAt, and
// TrimBefore if it is later than the stored one. The old values of texts that change are erased;
// texts that do not change are not sealed again.
func (t *tx) UpdateConversation(c im.Conversation) error {
	trimBefore := int64(0)
	if !c.TrimBefore.IsZero() {
		trimBefore = c.TrimBefore.UnixMilli()
	}
	var before texts
	found, err := t.session.row(selectTexts, []any{int64(c.ID)}, before.dest()...)
	if err != nil || !found {
		return orNotFound(err)
	}
	after, err := t.replaceTexts(before, c)
	if err != nil {
		return err
	}
	return t.must(`UPDATE conversations SET name_slot = ?, name = ?, history = ?, revoke_window = ?, expire_after = ?,
		retention = ?, updated_at = ?, edited_at = ?,
		announcement_slot = ?, announcement = ?, avatar_slot = ?, avatar = ?,
		join_policy = ?, invite_policy = ?, mute_all = ?, slow_mode = ?, private = ?,
		revoke_others_window = ?,
		trim_before = nullif(max(coalesce(trim_before, 0), ?), 0) WHERE id = ?`,
		after.name.slot, after.name.sealed, int64(c.History), durationMillis(c.RevokeWindow), c.ExpireAfter.Milliseconds(),
		durationMillis(c.Retention), c.UpdatedAt.UnixMilli(), c.EditedAt.UnixMilli(),
		after.announcement.slot, after.announcement.sealed, after.avatar.slot, after.avatar.sealed,
		int64(c.Join), int64(c.Invite), c.MuteAll, c.SlowMode.Milliseconds(), c.Private,
		durationMillis(c.RevokeOthersWindow),
		trimBefore, int64(c.ID))
}

// must runs a statement that must change at least one row. The error is [im.ErrNotFound]
// otherwise.
func (t *tx) must(query string, args ...any) error {
	n, err := t.session.update(query, args...)
	if err == nil && n == 0 {
		err = im.ErrNotFound
	}
	return err
}
