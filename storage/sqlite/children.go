package sqlite

import (
	"encoding/json"
	"math"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	threadsOf  = " FROM conversations t INDEXED BY threads_of_parent WHERE t.deleted_at IS NULL AND t.parent_id = "
	channelsOf = ` FROM conversations c INDEXED BY channels_of_space
		WHERE c.kind = {channel} AND coalesce(c.deleted_event, {open}) = {open} AND c.space_id = `
	// spacesOf finds the spaces that a user is a member of.
	spacesOf = ` FROM intervals i INDEXED BY intervals_in_spaces
		WHERE i.in_space = 1 AND i.to_event = {open} AND i.user_id = `

	selectChildren = "SELECT t.id" + threadsOf + "?1 UNION ALL SELECT c.id" + channelsOf + `?1
		UNION ALL SELECT t.id FROM (SELECT c.id AS id` + channelsOf + `?1) p
		CROSS JOIN conversations t INDEXED BY threads_of_parent ON t.deleted_at IS NULL AND t.parent_id = p.id`
	// selectSearched finds the conversations in the user's list, the threads of their
	// groups, the channels of their spaces, and the threads of those channels.
	selectSearched = `SELECT conversation_id FROM members INDEXED BY members_of_user WHERE user_id = ?1 AND kind <= {room}
		UNION ALL SELECT t.id FROM members g INDEXED BY members_of_user
		CROSS JOIN conversations t INDEXED BY threads_of_parent ON t.deleted_at IS NULL AND t.parent_id = g.conversation_id
		WHERE g.user_id = ?1 AND g.kind <= {room} AND g.kind = {group}
		UNION ALL SELECT c.id FROM (` + spacesOfUser + `) s CROSS JOIN conversations c INDEXED BY channels_of_space ON ` + channelOf + `
		UNION ALL SELECT t.id FROM (` + spacesOfUser + `) s CROSS JOIN conversations c INDEXED BY channels_of_space ON ` + channelOf + `
		CROSS JOIN conversations t INDEXED BY threads_of_parent ON t.deleted_at IS NULL AND t.parent_id = c.id
		LIMIT ?2`
	spacesOfUser = "SELECT i.conversation_id AS id" + spacesOf + "?1"
	channelOf    = `c.kind = {channel} AND coalesce(c.deleted_event, {open}) = {open} AND c.space_id = s.id`

	selectThreads = "SELECT " + conversationColumns + " FROM conversations c INDEXED BY threads_of_parent" + conversationUsers +
		"WHERE c.parent_id = ? AND c.deleted_at IS NULL AND c.id < ? ORDER BY c.id DESC LIMIT ?"
	selectThreadOf = "SELECT " + conversationColumns + " FROM conversations c INDEXED BY thread_of_root" + conversationUsers +
		"WHERE c.root_id = ? AND c.deleted_at IS NULL"
	selectJoinedThreads = "SELECT " + conversationColumns + ` FROM members o INDEXED BY threads_of_user
		CROSS JOIN conversations c ON c.id = o.conversation_id` + conversationUsers +
		`WHERE o.user_id = ?1 AND o.kind = {thread} AND o.conversation_id < ?2 ORDER BY o.conversation_id DESC LIMIT ?3`
	selectJoinedChildren = `SELECT o.conversation_id FROM members o INDEXED BY threads_of_user_below
		WHERE o.user_id = ?1 AND o.parent_id = ?2 AND o.kind = {thread}
		UNION ALL SELECT o.conversation_id FROM (SELECT c.id AS id` + channelsOf + `?2) p
		CROSS JOIN members o INDEXED BY threads_of_user_below ON o.user_id = ?1 AND o.parent_id = p.id AND o.kind = {thread}
		LIMIT ?3`
	selectChannels = "SELECT " + conversationColumns + " FROM conversations c INDEXED BY channels_of_space" + conversationUsers +
		`WHERE c.space_id = ? AND c.kind = {channel} AND coalesce(c.deleted_event, {open}) = {open}
		AND c.id > ? ORDER BY c.id LIMIT ?`
	selectSpaces = "SELECT " + conversationColumns + ` FROM intervals i INDEXED BY intervals_in_spaces
		CROSS JOIN conversations c ON c.id = i.conversation_id` + conversationUsers +
		`WHERE i.in_space = 1 AND i.user_id = ? AND i.to_event = {open} AND i.conversation_id > ?
		ORDER BY i.conversation_id LIMIT ?`

	selectThreadIDs = `SELECT id FROM conversations INDEXED BY threads_of_parent
		WHERE parent_id = ? AND deleted_at IS NULL AND id > ? ORDER BY id LIMIT ?`
	putChildRetention = `UPDATE conversations SET retention = ?1,
		trim_before = CASE WHEN oldest_at < ?2 THEN max(coalesce(trim_before, 0), ?2) ELSE trim_before END
		WHERE id IN (SELECT j.value FROM json_each(?3) AS j)`
	putActivity = "UPDATE conversations SET messages = ?, active_at = ? WHERE id = ?"

	selectLastActive = `SELECT created_at FROM messages INDEXED BY messages_of_thread
		WHERE conversation_id = ? AND in_thread = 1 AND state = {active} AND visible_to IS NULL ORDER BY created_at DESC LIMIT 1`
)

// Descendants returns the ids of all descendants of a conversation: threads of a group or
// channel, and channels of a space with their threads.
func (r *reader) Descendants(id im.ID) ([]im.ID, error) { return r.ids(selectChildren, int64(id)) }

// SearchedBy returns up to limit conversations that the user can search.
func (r *reader) SearchedBy(user im.UserID, limit int) ([]im.ID, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	return r.ids(selectSearched, key, limit)
}

// Threads returns threads of a group or channel, the newest first.
func (r *reader) Threads(parent, before im.ID, limit int) ([]im.Conversation, error) {
	return r.conversations(selectThreads, int64(parent), orLast(before), limit)
}

// orLast returns the bound of a descending list; 0 means its start.
func orLast(before im.ID) int64 {
	if before == 0 {
		return math.MaxInt64
	}
	return int64(before)
}

// orFirst returns the bound of an ascending list; 0 means its start. Ids may be negative.
func orFirst(after im.ID) int64 {
	if after == 0 {
		return math.MinInt64
	}
	return int64(after)
}

// ThreadOf returns the thread of a message.
func (r *reader) ThreadOf(message im.ID) (im.Conversation, error) {
	return r.conversation(selectThreadOf, int64(message))
}

// JoinedThreads returns threads that the user is a member of, the newest first.
func (r *reader) JoinedThreads(user im.UserID, before im.ID, limit int) ([]im.Conversation, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	return r.conversations(selectJoinedThreads, key, orLast(before), limit)
}

// JoinedThreadsIn returns the threads that the user is a member of in a group, channel or space.
func (r *reader) JoinedThreadsIn(user im.UserID, id im.ID, limit int) ([]im.ID, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	return r.ids(selectJoinedChildren, key, int64(id), limit)
}

// Channels returns channels of a space, in the order of their ids.
func (r *reader) Channels(space, after im.ID, limit int) ([]im.Conversation, error) {
	return r.conversations(selectChannels, int64(space), orFirst(after), limit)
}

// Spaces returns spaces that the user is a member of, in the order of their ids.
func (r *reader) Spaces(user im.UserID, after im.ID, limit int) ([]im.Conversation, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	return r.conversations(selectSpaces, key, orFirst(after), limit)
}

// SetThreadRetention sets the retention of up to limit threads of a conversation, in the order of
// their ids, and schedules the trim of messages older than past, unless that is zero. It returns
// the id of the last of these threads, and whether there are more.
func (t *tx) SetThreadRetention(
	id im.ID, retention *time.Duration, past time.Time, after im.ID, limit int,
) (last im.ID, more bool, err error) {
	ids, err := t.ids(selectThreadIDs, int64(id), orFirst(after), limit+1)
	if err != nil || len(ids) == 0 {
		return 0, false, err
	}
	if more = len(ids) > limit; more {
		ids = ids[:limit]
	}
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i] = int64(id)
	}
	list, err := json.Marshal(numbers)
	if err != nil {
		return 0, false, err
	}
	_, err = t.session.exec(putChildRetention, durationMillis(retention), optionalMillis(past), string(list))
	return ids[len(ids)-1], more, err
}

// PutActivity stores the number of messages of a thread and the time of the newest.
func (t *tx) PutActivity(thread im.ID, messages int64, at time.Time) error {
	return t.must(putActivity, messages, optionalMillis(at), int64(thread))
}

// LastActive returns when the newest message of a thread was sent that is not erased and is
// visible to all.
func (r *reader) LastActive(thread im.ID) (time.Time, bool, error) {
	var at int64
	found, err := r.session.row(selectLastActive, []any{int64(thread)}, &at)
	return fromMillis(at), found, err
}
