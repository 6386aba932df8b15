package sqlite

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

// The statements of unread counts are about parts of many conversations: ?2 lists them, each with
// the index of its query, the conversation and the first and last seq. ?1 is the user.
const (
	// selectSettled finds what the user has read or hidden in the parts, the newest ?3 ranges
	// of each kind in each. Hidden ranges are looked for only if the user has any.
	selectSettled = partList +
		settledOf + "AND s.kind = {read_range}" + settledIn + "AND b.kind = {read_range}" + settledFrom + "AND l.kind = {read_range}" + settledEnd + " UNION ALL " +
		settledOf + "AND s.kind = {hidden_range}" + settledIn + "AND b.kind = {hidden_range}" + settledFrom + "AND l.kind = {hidden_range}" + settledEnd +
		" AND (" + selectHides + ")"

	partList  = partsFrom + "?2) j) "
	partsFrom = `WITH part (at, conversation_id, low, high) AS MATERIALIZED (
		SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]')
		FROM json_each(`
	settledOf = `SELECT p.at, s.kind, s.from_seq, s.to_seq FROM part p CROSS JOIN seq_ranges s
		ON s.conversation_id = p.conversation_id AND s.user_id = ?1 AND s.from_seq <= p.high `
	settledIn = ` AND s.from_seq >= max(coalesce((SELECT max(b.from_seq) FROM seq_ranges b
		WHERE b.conversation_id = p.conversation_id AND b.user_id = ?1 AND b.from_seq <= p.low `
	settledFrom = `), p.low), coalesce((SELECT min(from_seq) FROM (SELECT l.from_seq FROM seq_ranges l
		WHERE l.conversation_id = p.conversation_id AND l.user_id = ?1 AND l.from_seq <= p.high `
	settledEnd = ` ORDER BY l.from_seq DESC LIMIT ?3)), 0))`

	// countGaps counts unread messages in the parts at the time ?3. The number of countable
	// messages is a difference of ordinals. It subtracts the user's own, counted within the
	// index, and those of others that are erased or due. If the messages before a part were
	// trimmed, the ordinal of the first remaining one gives their number.
	countGaps = partList + `SELECT at,
			coalesce((SELECT ord FROM messages m INDEXED BY messages_by_seq
				WHERE m.conversation_id = part.conversation_id AND seq <= high ORDER BY seq DESC LIMIT 1)
			- coalesce((SELECT ord FROM messages m INDEXED BY messages_by_seq
					WHERE m.conversation_id = part.conversation_id AND seq < low ORDER BY seq DESC LIMIT 1),
				(SELECT ord - (quiet = 0) FROM messages m INDEXED BY messages_by_seq
					WHERE m.conversation_id = part.conversation_id AND seq >= low ORDER BY seq LIMIT 1)), 0)
			- (SELECT count(*) FROM messages m INDEXED BY messages_by_seq
				WHERE m.conversation_id = part.conversation_id AND seq BETWEEN low AND high AND sender_id = ?1 AND quiet = 0)
			- (SELECT count(*) FROM messages m INDEXED BY messages_erased
				WHERE m.conversation_id = part.conversation_id AND seq BETWEEN low AND high AND state <> {active} AND sender_id <> ?1 AND quiet = 0)
			- (SELECT count(*) FROM messages m INDEXED BY messages_due_in
				WHERE m.conversation_id = part.conversation_id AND due_at IS NOT NULL AND due_at <= ?3
				AND seq BETWEEN low AND high AND sender_id <> ?1 AND quiet = 0), ` + mentionsInPart + " FROM part"
	// countMentions counts only the mentions in the parts; see mentionsInPart.
	countMentions = partList + "SELECT at, 0, " + mentionsInPart + " FROM part"

	// mentionsInPart counts the mentions in a part: messages that mention the user, and messages of
	// others that mention everyone, up to ?4 of each, without those that are due at ?3. A message
	// that does both is counted once.
	mentionsInPart = `(SELECT count(*) FROM (SELECT 1 FROM mentions_all a
			WHERE a.conversation_id = part.conversation_id AND a.seq BETWEEN low AND high AND a.sender_id <> ?1
			AND NOT EXISTS (SELECT 1 FROM mentions n WHERE n.conversation_id = part.conversation_id AND n.seq = a.seq AND n.user_id = ?1)
			AND NOT EXISTS (SELECT 1 FROM messages m INDEXED BY messages_by_seq
				WHERE m.conversation_id = part.conversation_id AND m.seq = a.seq AND m.due_at <= ?3) LIMIT ?4))
		+ (SELECT count(*) FROM (SELECT 1 FROM mentions n INDEXED BY mentions_of_user
			WHERE n.user_id = ?1 AND n.conversation_id = part.conversation_id AND n.seq BETWEEN low AND high
			AND NOT EXISTS (SELECT 1 FROM messages m INDEXED BY messages_by_seq
				WHERE m.conversation_id = part.conversation_id AND m.seq = n.seq AND m.due_at <= ?3) LIMIT ?4))`
)

// unreadRows implements [record.UnreadRows] for a user, at a time in milliseconds.
type unreadRows struct {
	r         *reader
	user, now int64
}

var _ record.UnreadRows = (*unreadRows)(nil)

// Unread counts the messages that a user has not read, for each query.
func (r *reader) Unread(queries ...im.UnreadQuery) ([]im.UnreadCount, error) {
	if len(queries) == 0 {
		return nil, nil
	}
	user, err := r.userKey(queries[0].User)
	if err != nil {
		return nil, err
	}
	return record.CountUnread(&unreadRows{r: r, user: user, now: queries[0].Now.UnixMilli()}, queries)
}

// Settled implements [record.UnreadRows], as do the methods after it.
func (u *unreadRows) Settled(bounds []record.Bounds, limit int) ([]record.Settled, error) {
	list := make([]record.Settled, len(bounds))
	if u.user == 0 {
		return list, nil
	}
	var parts parts
	for i, b := range bounds {
		parts.add(i, b.Conversation, b.Range)
	}
	err := u.r.session.list(selectSettled, []any{u.user, parts.json(), limit}, func(rows packedRow) (bool, error) {
		var at int
		var kind record.RangeKind
		var r seqs.Range
		err := rows.Scan(&at, &kind, &r.From, &r.To)
		if of := &list[at]; kind == record.Read {
			of.Read = append(of.Read, r)
		} else {
			of.Hidden = append(of.Hidden, r)
		}
		return true, err
	})
	for _, of := range list {
		slices.SortFunc(of.Read, newestFirst)
		slices.SortFunc(of.Hidden, newestFirst)
	}
	return list, err
}

func newestFirst(a, b seqs.Range) int { return cmp.Compare(b.From, a.From) }

func (u *unreadRows) CountGaps(gaps []record.Gaps) ([]im.UnreadCount, error) {
	return u.count(countGaps, gaps)
}

func (u *unreadRows) CountMentions(gaps []record.Gaps) ([]im.UnreadCount, error) {
	return u.count(countMentions, gaps)
}

// count runs a statement that counts in gaps.
func (u *unreadRows) count(query string, gaps []record.Gaps) ([]im.UnreadCount, error) {
	counts := make([]im.UnreadCount, len(gaps))
	var parts parts
	for i, g := range gaps {
		for _, r := range g.Set {
			parts.add(i, g.Conversation, r)
		}
	}
	err := u.r.session.list(query, []any{u.user, parts.json(), u.now, im.MaxUnread}, func(rows packedRow) (bool, error) {
		var at, messages, mentions int
		err := rows.Scan(&at, &messages, &mentions)
		counts[at].Messages += messages
		counts[at].Mentions += mentions
		return true, err
	})
	return counts, err
}

// parts is a list of parts of conversations, as JSON for SQL.
type parts []byte

// add adds a part for the query with the index at.
func (p *parts) add(at int, conversation im.ID, r seqs.Range) {
	b := append(*p, ",["...)
	for i, n := range []int64{int64(at), int64(conversation), r.From, r.To} {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	*p = append(b, ']')
}

// json returns the list.
func (p parts) json() string {
	if len(p) == 0 {
		return "[]"
	}
	return "[" + string(p[1:]) + "]"
}
