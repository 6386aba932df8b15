package sqlite

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
)

const (
	// selectSettled finds what the user ?2 has read or hidden of the stretch ?3
	// to ?4, of each the newest ?5 ranges.
	selectSettled = "SELECT * FROM (" + settledOf + "AND kind = {read_range}" + settledIn + "AND kind = {read_range}" + settledEnd +
		") UNION ALL SELECT * FROM (" + settledOf + "AND kind = {hidden_range}" + settledIn + "AND kind = {hidden_range}" + settledEnd + ")"

	settledOf = "SELECT kind, from_seq, to_seq FROM seq_ranges WHERE conversation_id = ?1 AND user_id = ?2 "
	settledIn = ` AND from_seq <= ?4 AND from_seq >= coalesce((SELECT max(from_seq) FROM seq_ranges
		WHERE conversation_id = ?1 AND user_id = ?2 AND from_seq <= ?3 `
	settledEnd = "), ?3) ORDER BY from_seq DESC LIMIT ?5"

	// countGaps counts in the gaps ?3 of what the user ?2 has settled, at the
	// time ?4: the messages that were ever counted, by a subtraction of their
	// ordinals; less their own, which are counted in the index; less those of others that
	// were erased, or are due. Where what was before a gap has been removed, the first
	// message that is left says how many that was.
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
	// countMentions counts only what mentions the user.
	countMentions = gapList + "SELECT " + mentionsInGaps + " FROM gap"

	gapList = `WITH gap (low, high) AS MATERIALIZED (
		SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?3) j) `
	// mentionsInGaps goes no further than ?5 in each gap, with those messages that
	// mention the user and with those of others that mention everyone. What does
	// both is one of the former.
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

const (
	// firstSettled is how many ranges are looked at first. Who read in order has
	// a few. Each look after it is growth times as large, up to mostSettled.
	firstSettled = 64
	mostSettled  = 8192
	// firstStretch is how many messages are counted over first. The user's own and
	// erased ones cost by their number: where there is enough to count, it is found
	// before many of them are met. Each stretch after it is growth times as long.
	firstStretch = 2 * im.MaxUnread
	growth       = 8
)

// unreadCounter counts from the newest message to the oldest, and ends when
// there is more than is told.
type unreadCounter struct {
	r    *reader
	q    im.UnreadQuery
	user int64

	ranges  int   // to look at next
	stretch int64 // to count over next
	count   im.UnreadCount
}

// Unread counts what a user has not read. What it costs is decided by how many
// gaps there are in what was read, which are few for who reads in order, and by
// how many messages were erased in those: not by how many are unread, nor by the
// history.
func (r *reader) Unread(q im.UnreadQuery) (im.UnreadCount, error) {
	user, err := r.userKey(q.User)
	if err != nil {
		return im.UnreadCount{}, err
	}
	c := &unreadCounter{r: r, q: q, user: user, ranges: firstSettled, stretch: firstStretch}
	for _, rng := range slices.Backward(q.Ranges) {
		for rng.From <= rng.To && !c.count.Full() {
			settled, known, err := c.settled(rng)
			if err != nil {
				return im.UnreadCount{}, err
			}
			if err := c.add(seqs.Set{{From: known, To: rng.To}}.Without(settled)); err != nil {
				return im.UnreadCount{}, err
			}
			rng.To = known - 1
		}
	}
	return c.count.Capped(), nil
}

// settled returns the newest of what in a range is not unread, because it was
// read or is hidden, rising and apart, and the seq from which on that is all of
// it.
func (c *unreadCounter) settled(rng im.SeqRange) (set seqs.Set, known int64, err error) {
	known = rng.From
	if c.user == 0 {
		return nil, known, nil
	}
	limit := c.ranges
	c.ranges = min(c.ranges*growth, mostSettled)
	var list []seqs.Range
	found := map[int64]int{}
	args := []any{int64(c.q.Conversation), c.user, rng.From, rng.To, limit}
	err = c.r.session.query(selectSettled, args, func(rows *sql.Rows) (bool, error) {
		var kind int64
		var r seqs.Range
		err := rows.Scan(&kind, &r.From, &r.To)
		list = append(list, r)
		if found[kind]++; found[kind] == limit {
			known = max(known, r.From) // there may be more below
		}
		return true, err
	})
	return seqs.Union(list...), known, err
}

// add counts what is unread in gaps, which are rising.
func (c *unreadCounter) add(gaps seqs.Set) error {
	for len(gaps) > 0 && c.count.Messages <= im.MaxUnread {
		var newest seqs.Set
		gaps, newest = gaps.Split(c.stretch)
		if len(gaps) > 0 {
			c.stretch *= growth
		}
		if err := c.run(countGaps, newest, &c.count.Messages, &c.count.Mentions); err != nil {
			return err
		}
	}
	if len(gaps) > 0 && !c.count.Full() {
		return c.run(countMentions, gaps, &c.count.Mentions)
	}
	return nil
}

// run adds what a statement counts in gaps to the counts.
func (c *unreadCounter) run(query string, gaps seqs.Set, counts ...*int) error {
	args := []any{int64(c.q.Conversation), c.user, gapsJSON(gaps), c.q.Now.UnixMilli(), im.MaxUnread}
	more := make([]int, len(counts))
	dest := make([]any, len(counts))
	for i := range more {
		dest[i] = &more[i]
	}
	_, err := c.r.session.row(query, args, dest...)
	for i, count := range counts {
		*count += more[i]
	}
	return err
}

// gapsJSON writes ranges as SQL reads them.
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
