package sqlite

import (
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

const (
	ofReceipts = " FROM receipts WHERE conversation_id = ?1 AND kind = ?2 AND user_id = ?3 "

	// selectReceipts finds the ranges from the one that begins at ?4 or last
	// before it, up to those that begin at ?5.
	selectReceipts = "SELECT from_seq, to_seq, at" + ofReceipts +
		"AND from_seq >= coalesce((SELECT max(from_seq)" + ofReceipts + `AND from_seq <= ?4), ?4)
		AND from_seq <= ?5 ORDER BY from_seq`
	// selectReceiptAfter finds the range that begins first after ?4.
	selectReceiptAfter = "SELECT from_seq, to_seq, at" + ofReceipts + "AND from_seq > ?4 ORDER BY from_seq LIMIT 1"
	// selectOldReceipts finds ?5 ranges, newest first, from ?4 down.
	selectOldReceipts = "SELECT from_seq, to_seq, at" + ofReceipts + "AND from_seq <= ?4 ORDER BY from_seq DESC LIMIT ?5"
	// countReceipts counts no further than ?5 those that begin after ?4, and
	// returns where the last of them begins.
	countReceipts = "SELECT count(*), coalesce(min(from_seq), 0) FROM (SELECT from_seq" + ofReceipts +
		"AND from_seq > ?4 ORDER BY from_seq DESC LIMIT ?5)"
	putReceipt = `INSERT INTO receipts (conversation_id, kind, user_id, from_seq, to_seq, at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET to_seq = excluded.to_seq, at = excluded.at`
	deleteReceipt = "DELETE FROM receipts WHERE conversation_id = ? AND kind = ? AND user_id = ? AND from_seq = ?"

	// selectReceiptsOf goes from one user of the conversation to the next, and
	// for each seeks the one range in which the message may be.
	selectReceiptsOf = `WITH RECURSIVE reader (id) AS (
			SELECT min(user_id) FROM receipts WHERE conversation_id = ?1 AND kind = ?2
			UNION ALL
			SELECT (SELECT min(user_id) FROM receipts WHERE conversation_id = ?1 AND kind = ?2 AND user_id > reader.id)
			FROM reader WHERE reader.id IS NOT NULL)
		SELECT u.name, r.at FROM reader
		CROSS JOIN receipts r ON r.conversation_id = ?1 AND r.kind = ?2 AND r.user_id = reader.id
			AND r.from_seq = (SELECT max(from_seq) FROM receipts
				WHERE conversation_id = ?1 AND kind = ?2 AND user_id = reader.id AND from_seq <= ?3)
		CROSS JOIN users u ON u.id = reader.id
		WHERE r.to_seq >= ?3`

	// selectOthers finds a message of somebody else in a stretch.
	selectOthers = `SELECT 1 FROM messages INDEXED BY messages_by_seq
		WHERE conversation_id = ? AND seq BETWEEN ? AND ? AND sender_id <> ? LIMIT 1`
)

// receiptsOf are the rows of receipts of one user in one conversation.
type receiptsOf struct {
	*tx
	conversation, kind, user int64
}

var _ record.Receipts = (*receiptsOf)(nil)

// PutReceipt records that the user has given a receipt for the messages in the
// range, and returns those parts of it for which they had not.
func (t *tx) PutReceipt(kind im.ReceiptKind, conversation im.ID, user im.UserID, r im.SeqRange, at time.Time) (seqs.Set, error) {
	key, err := t.intern(user)
	if err != nil {
		return nil, err
	}
	o := &receiptsOf{tx: t, conversation: int64(conversation), kind: int64(kind), user: key}
	return record.AddReceipt(o, kind, r, at.UnixMilli())
}

// From implements [record.Receipts], as do the methods after it.
func (o *receiptsOf) From(from, to int64) ([]record.Receipt, error) {
	return o.ranges(selectReceipts, from, to)
}

func (o *receiptsOf) After(seq int64) ([]record.Receipt, error) {
	return o.ranges(selectReceiptAfter, seq)
}

func (o *receiptsOf) Before(seq int64, limit int) ([]record.Receipt, error) {
	return o.ranges(selectOldReceipts, seq, limit)
}

func (o *receiptsOf) Count(after int64, limit int) (n int, oldest int64, err error) {
	_, err = o.session.row(countReceipts, []any{o.conversation, o.kind, o.user, after, limit}, &n, &oldest)
	return n, oldest, err
}

func (o *receiptsOf) OthersIn(r seqs.Range) (bool, error) {
	var one int
	return o.session.row(selectOthers, []any{o.conversation, r.From, r.To, o.user}, &one)
}

func (o *receiptsOf) Put(r record.Receipt) error {
	_, err := o.session.exec(putReceipt, o.conversation, o.kind, o.user, r.From, r.To, r.At)
	return err
}

func (o *receiptsOf) Delete(from int64) error {
	_, err := o.session.exec(deleteReceipt, o.conversation, o.kind, o.user, from)
	return err
}

// ranges runs a query for ranges, with the user's key before its arguments.
func (o *receiptsOf) ranges(query string, args ...any) ([]record.Receipt, error) {
	var list []record.Receipt
	err := o.session.query(query, append([]any{o.conversation, o.kind, o.user}, args...),
		func(rows *sql.Rows) (bool, error) {
			var r record.Receipt
			err := rows.Scan(&r.From, &r.To, &r.At)
			list = append(list, r)
			return true, err
		})
	return list, err
}

// ReceiptsIn returns for which messages of a range the user has given a receipt of
// this kind.
func (r *reader) ReceiptsIn(kind im.ReceiptKind, conversation im.ID, user im.UserID, of im.SeqRange) (seqs.Set, error) {
	key, err := r.userKey(user)
	if err != nil || key == 0 {
		return nil, err
	}
	var list seqs.Set
	err = r.session.query(selectReceipts, []any{int64(conversation), int64(kind), key, of.From, of.To},
		func(rows *sql.Rows) (bool, error) {
			var found seqs.Range
			var at int64
			err := rows.Scan(&found.From, &found.To, &at)
			list = append(list, found)
			return true, err
		})
	return list.Within(of), err
}

// ReceiptsOf returns who has given a receipt of this kind for a message.
func (r *reader) ReceiptsOf(kind im.ReceiptKind, conversation im.ID, seq int64) ([]im.Receipt, error) {
	var list []im.Receipt
	err := r.session.query(selectReceiptsOf, []any{int64(conversation), int64(kind), seq},
		func(rows *sql.Rows) (bool, error) {
			var rc im.Receipt
			var at int64
			err := rows.Scan(&rc.User, &at)
			rc.At = fromMillis(at)
			list = append(list, rc)
			return true, err
		})
	slices.SortFunc(list, func(a, b im.Receipt) int { return cmp.Compare(a.User, b.User) })
	return list, err
}
