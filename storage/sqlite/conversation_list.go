package sqlite

import (
	"cmp"
	"database/sql"
	"math"
	"slices"

	"github.com/imapi/imapi/im"
)

// listed finds the sort keys of the conversations in the list of the user ?1 as of the time
// ?2. Kinds up to room are in the list. Any activity moves a conversation to the front, so all
// conversations of the user are sorted for each page. The rows are narrow for that reason; the
// details are read only for the page. If there are very many conversations, only the ids from ?11
// to ?12 are sorted.
//
// The sort key is the time of the newest message, of the creation or of the user's joining,
// whichever is latest. Messages after the id ?10 do not count: they are newer than the list. Nor
// do quiet messages for a single user. LIMIT -1 means no limit. It makes SQLite compute the sort
// key once for each row, not for each use of it.
const (
	listed = `SELECT id, sort_at FROM (SELECT c.id AS id, max(o.joined_at, CASE WHEN c.listed_id <= ?10 THEN c.listed_at ELSE max(c.created_at,
			coalesce((SELECT m.created_at FROM messages m INDEXED BY messages_by_time
				WHERE m.conversation_id = c.id AND m.timed = 1 AND +m.id <= ?10 AND (m.quiet = 0 OR m.visible_to IS NULL)
				ORDER BY m.created_at DESC, m.seq DESC LIMIT 1), c.created_at),
			coalesce((SELECT m.created_at FROM messages m INDEXED BY messages_by_seq
				WHERE m.conversation_id = c.id AND m.timed = 0 AND +m.id <= ?10 AND (m.quiet = 0 OR m.visible_to IS NULL)
				ORDER BY m.seq DESC LIMIT 1), c.created_at)) END) AS sort_at
		FROM members o INDEXED BY members_of_user CROSS JOIN conversations c ON c.id = o.conversation_id
		LEFT JOIN marks k ON k.conversation_id = o.conversation_id AND k.user_id = ?1 `
	listedWhere = `WHERE o.user_id = ?1 AND o.kind <= {room} AND o.conversation_id >= ?11 AND o.conversation_id <= ?12 AND (c.created_at <= ?2 OR c.created_at > ?9)
		AND (o.joined_at <= ?2 OR o.joined_at > ?9)
		AND (?5 = 0 OR c.kind = ?5) AND (?6 IS NULL OR (k.pinned_at IS NOT NULL) = ?6)
		AND (?7 OR coalesce(k.gone_counted, {not_gone}) < c.counted) `
	listedOrder   = "LIMIT -1) WHERE (sort_at, id) < (?3, ?4) ORDER BY sort_at DESC, id DESC LIMIT ?8"
	listedChanged = "AND max(c.changed_at, coalesce(k.changed_at, c.changed_at), o.joined_at) >= ?13 "

	listedPage    = "SELECT " + conversationColumns + ", p.sort_at FROM ("
	listedDetails = ") p CROSS JOIN conversations c ON c.id = p.id" + conversationUsers

	selectConversations        = listedPage + listed + listedWhere + listedOrder + listedDetails
	selectChangedConversations = listedPage + listed + listedWhere + listedChanged + listedOrder + listedDetails

	// nthConversation only reads the index.
	nthConversation = `SELECT max(p.id) FROM (SELECT conversation_id AS id FROM members INDEXED BY members_of_user
		WHERE user_id = ?1 AND kind <= {room} AND conversation_id >= ?2 ORDER BY conversation_id LIMIT ?3) p HAVING count(*) = ?3`

	selectConversationsOf = `SELECT conversation_id FROM members INDEXED BY members_of_user
		WHERE user_id = ? AND conversation_id < ? AND kind <= {room} AND kind <> {room} ORDER BY conversation_id DESC LIMIT ?`
)

// Conversations returns a page of the direct conversations, groups and rooms that the user is a
// member of, in the order of the list.
func (r *reader) Conversations(q im.ConversationQuery) ([]im.ListedConversation, error) {
	user, err := r.userKey(q.User)
	if err != nil || user == 0 {
		return nil, err
	}
	past := [2]int64{math.MaxInt64, math.MaxInt64}
	if q.Past != nil {
		past = [2]int64{q.Past.ActiveAt.UnixMilli(), int64(q.Past.ID)}
	}
	var pinned sql.NullBool
	if q.Pinned != nil {
		pinned = sql.NullBool{Bool: *q.Pinned, Valid: true}
	}
	if q.Through == 0 {
		q.Through = math.MaxInt64
	}
	future := int64(math.MaxInt64)
	if !q.Now.IsZero() {
		future = q.Now.UnixMilli()
	}
	among := im.IDRange{From: math.MinInt64, To: math.MaxInt64}
	if q.Among != nil {
		among = *q.Among
	}
	query := selectConversations
	args := []any{
		user, q.AsOf.UnixMilli(), past[0], past[1], int64(q.Kind), pinned, q.Hidden, q.Limit, future, int64(q.Through),
		int64(among.From), int64(among.To),
	}
	if !q.ChangedSince.IsZero() {
		query = selectChangedConversations
		args[6] = true
		args = append(args, ceilMillis(q.ChangedSince).UnixMilli())
	}
	var list []im.ListedConversation
	err = r.session.list(query, args, func(rows packedRow) (bool, error) {
		var sortAt int64
		c, err := r.scanConversation(rows, &sortAt)
		list = append(list, im.ListedConversation{Conversation: c, ActiveAt: fromMillis(sortAt)})
		return true, err
	})
	// SQLite does not promise that the join keeps the order of the page.
	slices.SortFunc(list, func(a, b im.ListedConversation) int {
		return cmp.Or(b.ActiveAt.Compare(a.ActiveAt), cmp.Compare(b.ID, a.ID))
	})
	return list, err
}

// NthConversation returns the id of the user's nth direct conversation, group or room with an id of
// at least from, in the order of ids; n is 0 for the first. It returns [im.ErrNotFound] if there
// are fewer.
func (r *reader) NthConversation(user im.UserID, from im.ID, n int) (im.ID, error) {
	key, err := r.userKey(user)
	if err != nil {
		return 0, err
	}
	ids, err := r.ids(nthConversation, key, int64(from), n+1)
	if err == nil && len(ids) == 0 {
		err = im.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

// ConversationsOf returns ids of the direct conversations and groups that the user is a
// member of, the greatest first.
func (r *reader) ConversationsOf(user im.UserID, before im.ID, limit int) ([]im.ID, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	return r.ids(selectConversationsOf, key, orLast(before), limit)
}
