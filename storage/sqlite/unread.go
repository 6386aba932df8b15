package sqlite

import (
	"cmp"
	"database/sql"
	"slices"

	"github.com/imapi/imapi/im"
)

const (
	selectUnstarted = "SELECT " + messageColumns + withContent + " FROM messages m INDEXED BY messages_unstarted" + messageParts +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.burn_after IS NOT NULL AND m.burn_at IS NULL AND m.state = 1
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
	selectBurning = "SELECT " + messageColumns + withoutContent + " FROM messages m INDEXED BY messages_burning" + messageUsers +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.burn_at IS NOT NULL AND m.state = 1
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
	selectTracked = "SELECT " + messageColumns + withoutContent + " FROM messages m INDEXED BY messages_tracked" + messageUsers +
		`WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? AND m.receipt = 1 AND m.state = 1
		AND +m.sender_id <> ? ORDER BY m.seq LIMIT ?`
)

// Unstarted returns active messages that were sent for burning and have not
// begun to, by others than the user.
func (r *reader) Unstarted(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectUnstarted, conversation, rng, notBy, limit)
}

// Burning returns those that have, without their content.
func (r *reader) Burning(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectBurning, conversation, rng, notBy, limit)
}

// Tracked returns active messages that were sent with receipt, by others than
// the user, without their content.
func (r *reader) Tracked(conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	return r.othersIn(selectTracked, conversation, rng, notBy, limit)
}

func (r *reader) othersIn(query string, conversation im.ID, rng im.SeqRange, notBy im.UserID, limit int) ([]im.Message, error) {
	key, err := r.userKey(notBy)
	if err != nil {
		return nil, err
	}
	return r.messages(query, int64(conversation), rng.From, rng.To, key, limit)
}

// countStretch counts in the stretch ?3 to ?4 of the conversation ?1, for the
// user ?2 at the time ?5: the messages that were ever counted, by a subtraction
// of their ordinals; and what of them is not unread: their own, those of others
// that were erased, and those that are due. Then, no further than ?6, the
// mentions of the user that are none of these.
//
// Where what was before the stretch has been removed, the first message that is
// left says how many that was.
const countStretch = `SELECT
	coalesce((SELECT ord FROM messages INDEXED BY messages_by_seq
			WHERE conversation_id = ?1 AND seq <= ?4 ORDER BY seq DESC LIMIT 1), 0)
		- coalesce((SELECT ord FROM messages INDEXED BY messages_by_seq
				WHERE conversation_id = ?1 AND seq < ?3 ORDER BY seq DESC LIMIT 1),
			(SELECT ord - (quiet = 0) FROM messages INDEXED BY messages_by_seq
				WHERE conversation_id = ?1 AND seq >= ?3 ORDER BY seq LIMIT 1), 0)
		- (SELECT count(*) FROM messages INDEXED BY messages_by_sender
			WHERE conversation_id = ?1 AND sender_id = ?2 AND seq BETWEEN ?3 AND ?4 AND quiet = 0)
		- (SELECT count(*) FROM messages INDEXED BY messages_erased
			WHERE conversation_id = ?1 AND seq BETWEEN ?3 AND ?4 AND state <> 1 AND sender_id <> ?2 AND quiet = 0)
		- (SELECT count(*) FROM messages INDEXED BY messages_due_in
			WHERE conversation_id = ?1 AND due_at IS NOT NULL AND due_at <= ?5
			AND seq BETWEEN ?3 AND ?4 AND sender_id <> ?2 AND quiet = 0),
	(SELECT count(*) FROM (SELECT 1 FROM mentions n INDEXED BY mentions_of_user
		CROSS JOIN messages m INDEXED BY messages_by_seq ON m.conversation_id = n.conversation_id AND m.seq = n.seq
		WHERE n.user_id = ?2 AND n.conversation_id = ?1 AND n.seq BETWEEN ?3 AND ?4
		AND m.state = 1 AND m.sender_id <> ?2 AND (m.due_at IS NULL OR m.due_at > ?5) LIMIT ?6))`

const (
	// settledChunk is how many ranges of what was read, and of what is hidden,
	// are looked at together.
	settledChunk = 128
	// firstStretch is how many messages are counted over first. Own messages and
	// erased ones cost by their number: where there is enough to count, it is
	// found before many of them are met. Each stretch after it is stretchGrowth
	// times as long.
	firstStretch  = 4 * im.MaxUnread
	stretchGrowth = 8
)

// unreadCounter counts from the newest message to the oldest, and ends when
// there is more than is told.
type unreadCounter struct {
	r     *reader
	q     im.UnreadQuery
	user  int64
	count im.UnreadCount
}

// Unread counts what a user has not read. What it costs is decided by how many
// gaps there are in what was read, which are few for who reads in order, by the
// user's own messages and by those erased among what is unread: not by how many
// are unread, nor by the history.
func (r *reader) Unread(q im.UnreadQuery) (im.UnreadCount, error) {
	user, err := r.userKey(q.User)
	if err != nil {
		return im.UnreadCount{}, err
	}
	c := &unreadCounter{r: r, q: q, user: user}
	for _, rng := range slices.Backward(q.Ranges) {
		for !c.full() && rng.From <= rng.To {
			settled, known, err := c.settled(rng)
			if err != nil {
				return im.UnreadCount{}, err
			}
			gaps := uncovered(im.SeqRange{From: known, To: rng.To}, settled)
			for _, gap := range slices.Backward(gaps) {
				if err := c.countGap(gap); err != nil {
					return im.UnreadCount{}, err
				}
			}
			rng.To = known - 1
		}
	}
	if c.count.Messages > im.MaxUnread {
		c.count.Messages, c.count.More = im.MaxUnread, true
	}
	c.count.Mentions = min(c.count.Mentions, im.MaxUnread)
	return c.count, nil
}

// full reports whether more would change nothing: what is told of messages, and
// of mentions, which are as many at the most.
func (c *unreadCounter) full() bool {
	return c.count.Messages > im.MaxUnread && c.count.Mentions >= im.MaxUnread
}

// settled returns the newest of what in a range is not unread, because it was
// read or is hidden, rising and apart, and the seq from which on that is all of
// it.
func (c *unreadCounter) settled(rng im.SeqRange) (list []receiptRange, known int64, err error) {
	known = rng.From
	if c.user == 0 {
		return nil, known, nil
	}
	for _, kind := range []im.ReceiptKind{im.Read, hidden} {
		var ranges []receiptRange
		args := []any{int64(c.q.Conversation), int64(kind), c.user, rng.To, settledChunk}
		err := c.r.session.query(selectOldReceipts, args, func(rows *sql.Rows) (bool, error) {
			var r receiptRange
			err := rows.Scan(&r.from, &r.to, &r.at)
			ranges = append(ranges, r)
			return r.to >= rng.From, err
		})
		if err != nil {
			return nil, 0, err
		}
		if len(ranges) == settledChunk {
			known = max(known, ranges[settledChunk-1].from)
		}
		list = append(list, ranges...)
	}
	slices.SortFunc(list, func(a, b receiptRange) int { return cmp.Compare(a.from, b.from) })
	return joined(list), known, nil
}

// joined makes ranges that are rising apart as well.
func joined(list []receiptRange) []receiptRange {
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && out[n-1].touches(r) {
			out[n-1].to = max(out[n-1].to, r.to)
			continue
		}
		out = append(out, r)
	}
	return out
}

func (c *unreadCounter) countGap(gap im.SeqRange) error {
	for length := int64(firstStretch); gap.From <= gap.To && !c.full(); length *= stretchGrowth {
		from := max(gap.From, gap.To-length+1)
		var messages, mentions int
		_, err := c.r.session.row(countStretch, []any{
			int64(c.q.Conversation), c.user, from, gap.To, c.q.Now.UnixMilli(), im.MaxUnread,
		}, &messages, &mentions)
		if err != nil {
			return err
		}
		c.count.Messages += messages
		c.count.Mentions += mentions
		gap.To = from - 1
	}
	return nil
}
