package sqlite

import (
	"cmp"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

const (
	ofRanges = " FROM seq_ranges WHERE conversation_id = ?1 AND kind = ?2 AND user_id = ?3 "

	// selectRanges finds the last range that begins at or before ?4, and those after it
	// that begin at or before ?5.
	selectRanges = "SELECT from_seq, to_seq, at" + ofRanges +
		"AND from_seq >= coalesce((SELECT max(from_seq)" + ofRanges + `AND from_seq <= ?4), ?4)
		AND from_seq <= ?5 ORDER BY from_seq`
	// selectRangeAfter finds the first range that begins after ?4.
	selectRangeAfter = "SELECT from_seq, to_seq, at" + ofRanges + "AND from_seq > ?4 ORDER BY from_seq LIMIT 1"
	// selectOldRanges finds up to ?5 ranges that begin at or before ?4, descending.
	selectOldRanges = "SELECT from_seq, to_seq, at" + ofRanges + "AND from_seq <= ?4 ORDER BY from_seq DESC LIMIT ?5"
	// countRanges counts up to ?5 ranges that begin after ?4, from the newest, and returns
	// where the oldest of them begins.
	countRanges = "SELECT count(*), coalesce(min(from_seq), 0) FROM (SELECT from_seq" + ofRanges +
		"AND from_seq > ?4 ORDER BY from_seq DESC LIMIT ?5)"
	putRange = `INSERT INTO seq_ranges (conversation_id, kind, user_id, from_seq, to_seq, at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET to_seq = excluded.to_seq, at = excluded.at`
	deleteRange = "DELETE FROM seq_ranges WHERE conversation_id = ? AND kind = ? AND user_id = ? AND from_seq = ?"

	// selectRangesOf steps from one user of the conversation to the next, and seeks the one
	// range of each that may contain the message.
	selectRangesOf = `WITH RECURSIVE reader (id) AS (
			SELECT min(user_id) FROM seq_ranges WHERE conversation_id = ?1 AND kind = ?2
			UNION ALL
			SELECT (SELECT min(user_id) FROM seq_ranges WHERE conversation_id = ?1 AND kind = ?2 AND user_id > reader.id)
			FROM reader WHERE reader.id IS NOT NULL)
		SELECT u.name, r.at FROM reader
		CROSS JOIN seq_ranges r ON r.conversation_id = ?1 AND r.kind = ?2 AND r.user_id = reader.id
			AND r.from_seq = (SELECT max(from_seq) FROM seq_ranges
				WHERE conversation_id = ?1 AND kind = ?2 AND user_id = reader.id AND from_seq <= ?3)
		CROSS JOIN users u ON u.id = reader.id
		WHERE r.to_seq >= ?3`

	// selectOthers finds a message of another user in a range of seqs.
	selectOthers = `SELECT 1 FROM messages INDEXED BY messages_by_seq
		WHERE conversation_id = ? AND seq BETWEEN ? AND ? AND sender_id <> ? LIMIT 1`
)

// rangesOf implements [record.Ranges] for a kind, a user and a conversation.
type rangesOf struct {
	*tx
	conversation, kind, user int64
}

var _ record.Ranges = (*rangesOf)(nil)

// PutReceipt records that the user has given a receipt for the messages in a range, and
// returns the parts that had no receipt before.
func (t *tx) PutReceipt(kind im.ReceiptKind, conversation im.ID, user im.UserID, r im.SeqRange, at time.Time) (seqs.Set, error) {
	return t.addRange(record.ReceiptRange(kind), conversation, user, r, at)
}

// addRange adds a range to those of a kind, and returns the parts that were in none.
func (t *tx) addRange(kind record.RangeKind, conversation im.ID, user im.UserID, r im.SeqRange, at time.Time) (seqs.Set, error) {
	key, err := t.intern(user)
	if err != nil {
		return nil, err
	}
	o := &rangesOf{tx: t, conversation: int64(conversation), kind: int64(kind), user: key}
	return record.AddRange(o, kind, r, at.UnixMilli())
}

// From implements [record.Ranges], as do the methods after it up to Delete.
func (o *rangesOf) From(from, to int64) ([]record.Range, error) {
	return o.ranges(selectRanges, from, to)
}

func (o *rangesOf) After(seq int64) ([]record.Range, error) {
	return o.ranges(selectRangeAfter, seq)
}

func (o *rangesOf) Before(seq int64, limit int) ([]record.Range, error) {
	return o.ranges(selectOldRanges, seq, limit)
}

func (o *rangesOf) Count(after int64, limit int) (n int, oldest int64, err error) {
	_, err = o.session.row(countRanges, []any{o.conversation, o.kind, o.user, after, limit}, &n, &oldest)
	return n, oldest, err
}

func (o *rangesOf) OthersIn(r seqs.Range) (bool, error) {
	var one int
	return o.session.row(selectOthers, []any{o.conversation, r.From, r.To, o.user}, &one)
}

func (o *rangesOf) Put(r record.Range) error {
	_, err := o.session.exec(putRange, o.conversation, o.kind, o.user, r.From, r.To, r.At)
	return err
}

func (o *rangesOf) Delete(from int64) error {
	_, err := o.session.exec(deleteRange, o.conversation, o.kind, o.user, from)
	return err
}

// ranges runs a query for ranges with the key columns before its arguments.
func (o *rangesOf) ranges(query string, args ...any) ([]record.Range, error) {
	var list []record.Range
	err := o.session.query(query, append([]any{o.conversation, o.kind, o.user}, args...),
		func(rows row) (bool, error) {
			var r record.Range
			err := rows.Scan(&r.From, &r.To, &r.At)
			list = append(list, r)
			return true, err
		})
	return list, err
}

// ReceiptsIn returns the messages in a range for which the user has given a receipt of a
// kind.
func (r *reader) ReceiptsIn(kind im.ReceiptKind, conversation im.ID, user im.UserID, of im.SeqRange) (seqs.Set, error) {
	return r.rangesIn(record.ReceiptRange(kind), conversation, user, of)
}

// rangesIn returns the messages of a range that are in the user's ranges of a kind.
func (r *reader) rangesIn(kind record.RangeKind, conversation im.ID, user im.UserID, of im.SeqRange) (seqs.Set, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	var list seqs.Set
	err = r.session.query(selectRanges, []any{int64(conversation), int64(kind), key, of.From, of.To},
		func(rows row) (bool, error) {
			var found seqs.Range
			var at int64
			err := rows.Scan(&found.From, &found.To, &at)
			list = append(list, found)
			return true, err
		})
	return list.Within(of), err
}

// ReceiptsOf returns the users who have given a receipt of a kind for a message, and when.
func (r *reader) ReceiptsOf(kind im.ReceiptKind, conversation im.ID, seq int64) ([]im.Receipt, error) {
	return r.usersWith(record.ReceiptRange(kind), conversation, seq)
}

// usersWith returns the users with a range of a kind that contains a message, in the order of their
// ids, and when the range was added.
func (r *reader) usersWith(kind record.RangeKind, conversation im.ID, seq int64) ([]im.Receipt, error) {
	var list []im.Receipt
	err := r.session.usersAt(selectRangesOf, []any{int64(conversation), int64(kind), seq},
		func(user im.UserID, at time.Time) { list = append(list, im.Receipt{User: user, At: at}) })
	slices.SortFunc(list, func(a, b im.Receipt) int { return cmp.Compare(a.User, b.User) })
	return list, err
}
