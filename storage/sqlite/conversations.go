package sqlite

import (
	"database/sql"
	"time"

	"github.com/imapi/imapi/im"
)

const conversationColumns = `c.id, c.kind, c.name, c.history, l.name, h.name, c.member_count,
	c.last_seq, c.last_event, c.created_at, c.updated_at, c.revoke_window, c.expire_after`

const conversationPeers = ` LEFT JOIN users l ON l.id = c.peer_low LEFT JOIN users h ON h.id = c.peer_high `

const (
	selectConversation = "SELECT " + conversationColumns + " FROM conversations c" + conversationPeers +
		"WHERE c.id = ?"
	selectDirect = "SELECT " + conversationColumns + " FROM conversations c" + conversationPeers +
		"WHERE c.peer_low = ? AND c.peer_high = ?"
	// Activity puts any of them in front at any time, so the page is sorted
	// out of the user's own conversations.
	selectConversations = "SELECT " + conversationColumns + ` FROM members m
		CROSS JOIN conversations c ON c.id = m.conversation_id` + conversationPeers +
		`WHERE m.user_id = ? AND (c.updated_at, c.id) < (?, ?)
		ORDER BY c.updated_at DESC, c.id DESC LIMIT ?`
)

func scanConversation(rows *sql.Rows) (im.Conversation, error) {
	var c im.Conversation
	var low, high sql.NullString
	var created, updated, expireAfter int64
	var window sql.NullInt64
	err := rows.Scan(&c.ID, &c.Kind, &c.Name, &c.History, &low, &high, &c.MemberCount,
		&c.LastSeq, &c.LastEvent, &created, &updated, &window, &expireAfter)
	c.Peers = [2]im.UserID{im.UserID(low.String), im.UserID(high.String)}
	c.CreatedAt, c.UpdatedAt = fromMillis(created), fromMillis(updated)
	if window.Valid {
		w := time.Duration(window.Int64) * time.Millisecond
		c.RevokeWindow = &w
	}
	c.ExpireAfter = time.Duration(expireAfter) * time.Millisecond
	return c, err
}

func (r *reader) conversation(query string, args ...any) (c im.Conversation, err error) {
	found := false
	err = r.session.query(query, args, func(rows *sql.Rows) (bool, error) {
		found = true
		c, err = scanConversation(rows)
		return false, err
	})
	if err == nil && !found {
		err = im.ErrNotFound
	}
	return c, err
}

// Conversation returns one by its id.
func (r *reader) Conversation(id im.ID) (im.Conversation, error) {
	return r.conversation(selectConversation, int64(id))
}

// DirectConversation returns the one of two users.
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
	_, err := t.session.exec(`INSERT INTO conversations
		(id, kind, name, history, peer_low, peer_high, created_at, updated_at, revoke_window, expire_after)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(c.ID), int64(c.Kind), c.Name, int64(c.History), low, high,
		c.CreatedAt.UnixMilli(), c.UpdatedAt.UnixMilli(), revokeWindow(c), c.ExpireAfter.Milliseconds())
	return err
}

// revokeWindow is the conversation's own in milliseconds, NULL without one.
func revokeWindow(c im.Conversation) sql.NullInt64 {
	if c.RevokeWindow == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: c.RevokeWindow.Milliseconds(), Valid: true}
}

// UpdateConversation stores what a conversation is set to and UpdatedAt.
func (t *tx) UpdateConversation(c im.Conversation) error {
	return t.must(`UPDATE conversations
		SET name = ?, history = ?, revoke_window = ?, expire_after = ?, updated_at = ? WHERE id = ?`,
		c.Name, int64(c.History), revokeWindow(c), c.ExpireAfter.Milliseconds(), c.UpdatedAt.UnixMilli(), int64(c.ID))
}

// must runs a statement that has to change a row.
func (t *tx) must(query string, args ...any) error {
	n, err := t.session.update(query, args...)
	if err == nil && n == 0 {
		err = im.ErrNotFound
	}
	return err
}
