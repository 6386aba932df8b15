package sqlite

import (
	"fmt"
	"strings"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

const (
	// selectSettled finds what the user ?2 has read or hidden from ?3 to ?4, the newest ?5
	// ranges of each.
	selectSettled = "SELECT * FROM (" + settledOf + "AND kind = {read_range}" + settledIn + "AND kind = {read_range}" + settledEnd +
		") UNION ALL SELECT * FROM (" + settledOf + "AND kind = {hidden_range}" + settledIn + "AND kind = {hidden_range}" + settledEnd + ")"

	settledOf = "SELECT kind, from_seq, to_seq FROM seq_ranges WHERE conversation_id = ?1 AND user_id = ?2 "
	settledIn = ` AND from_seq <= ?4 AND from_seq >= coalesce((SELECT max(from_seq) FROM seq_ranges
		WHERE conversation_id = ?1 AND user_id = ?2 AND from_seq <= ?3 `
	settledEnd = "), ?3) ORDER BY from_seq DESC LIMIT ?5"

	// countGaps counts unread messages of the user ?2 in the gaps ?3 at the time ?4. The
	// number of countable messages is a difference of ordinals. It subtracts the user's
	// own, counted within the index, and those of others that are erased or due. If the
	// messages before a gap were trimmed, the ordinal of the first remaining one gives
	// their number.
	countGaps = gapList + `SELECT coalesce(sum(
			coalesce((SELECT ord FROM messages INDEXED BY messages_by_seq
				WHERE conversation_id = ?1 AND seq <= high ORDER BY seq DESC LIMIT 1)
			- coalesce((SELECT ord FROM messages INDEXED BY messages_by_seq
					WHERE conversation_id = ?1 AND seq < low ORDER BY seq DESC LIMIT 1),
				(SELECT ord - (quiet = 0) FROM messages INDEXED BY messages_by_seq
					WHERE conversation_id = ?1 AND seq >= low ORDER BY seq LIMIT 1)), 0)
			- (SELECT count(*) FROM messages INDEXED BY messages_by_seq
				WHERE conversation_id = ?1 AND seq BETWEEN low AND high AND sender_id = ?2 AND quiet = 0)
			- (SELECT count(*) FROM messages INDEXED BY messages_erased
				WHERE conversation_id = ?1 AND seq BETWEEN low AND high AND state <> {active} AND sender_id <> ?2 AND quiet = 0)
			- (SELECT count(*) FROM messages INDEXED BY messages_due_in
				WHERE conversation_id = ?1 AND due_at IS NOT NULL AND due_at <= ?4
				AND seq BETWEEN low AND high AND sender_id <> ?2 AND quiet = 0)), 0), ` + mentionsInGaps + " FROM gap"
	// countMentions counts only mentions of the user.
	countMentions = gapList + "SELECT " + mentionsInGaps + " FROM gap"

	gapList = `WITH gap (low, high) AS MATERIALIZED (
		SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?3) j) `
	// mentionsInGaps counts up to ?5 mentions in each gap: messages that mention the user,
	// and messages of others that mention everyone. A message that does both is counted
	// once.
	mentionsInGaps = `coalesce(sum((SELECT count(*) FROM (SELECT 1 FROM mentions_all a
			WHERE a.conversation_id = ?1 AND a.seq BETWEEN low AND high AND a.sender_id <> ?2
			AND NOT EXISTS (SELECT 1 FROM mentions n WHERE n.conversation_id = ?1 AND n.seq = a.seq AND n.user_id = ?2)
			AND NOT EXISTS (SELECT 1 FROM messages m INDEXED BY messages_by_seq
				WHERE m.conversation_id = ?1 AND m.seq = a.seq AND m.due_at <= ?4) LIMIT ?5))
		+ (SELECT count(*) FROM (SELECT 1 FROM mentions n INDEXED BY mentions_of_user
			WHERE n.user_id = ?2 AND n.conversation_id = ?1 AND n.seq BETWEEN low AND high
			AND NOT EXISTS (SELECT 1 FROM messages m INDEXED BY messages_by_seq
				WHERE m.conversation_id = ?1 AND m.seq = n.seq AND m.due_at <= ?4) LIMIT ?5))), 0)`
)

// unreadRows implements [record.UnreadRows] for a query.
type unreadRows struct {
	r    *reader
	q    im.UnreadQuery
	user int64
}

var _ record.UnreadRows = (*unreadRows)(nil)

// Unread counts the messages that a user has not read.
func (r *reader) Unread(q im.UnreadQuery) (im.UnreadCount, error) {
	user, err := r.userKey(q.User)
	if err != nil {
		return im.UnreadCount{}, err
	}
	return record.CountUnread(&unreadRows{r: r, q: q, user: user}, q.Ranges)
}

// Settled implements [record.UnreadRows], as do the methods after it.
func (u *unreadRows) Settled(bounds seqs.Range, limit int) (read, hidden []seqs.Range, err error) {
	if u.user == 0 {
		return nil, nil, nil
	}
	args := []any{int64(u.q.Conversation), u.user, bounds.From, bounds.To, limit}
	err = u.r.session.query(selectSettled, args, func(rows row) (bool, error) {
		var kind record.RangeKind
		var r seqs.Range
		err := rows.Scan(&kind, &r.From, &r.To)
		if kind == record.Read {
			read = append(read, r)
		} else {
			hidden = append(hidden, r)
		}
		return true, err
	})
	return read, hidden, err
}

func (u *unreadRows) CountGaps(gaps seqs.Set) (messages, mentions int, err error) {
	err = u.count(countGaps, gaps, &messages, &mentions)
	return messages, mentions, err
}

func (u *unreadRows) CountMentions(gaps seqs.Set) (mentions int, err error) {
	err = u.count(countMentions, gaps, &mentions)
	return mentions, err
}

// count runs a statement that counts in gaps.
func (u *unreadRows) count(query string, gaps seqs.Set, dest ...any) error {
	args := []any{int64(u.q.Conversation), u.user, gapsJSON(gaps), u.q.Now.UnixMilli(), im.MaxUnread}
	_, err := u.r.session.row(query, args, dest...)
	return err
}

// gapsJSON encodes ranges for SQL.
func gapsJSON(list seqs.Set) string {
	var b strings.Builder
	for i, r := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "[%d,%d]", r.From, r.To)
	}
	return "[" + b.String() + "]"
}
