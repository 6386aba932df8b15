package sqlite

import (
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
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

// maxBridge is the longest run of own messages that is looked through to make
// two ranges one.
const maxBridge = 32

// receiptsOf are the ranges of one user in one conversation.
type receiptsOf struct {
	*tx
	conversation, kind, user int64
}

// PutReceipt records that the user has given a receipt for the messages in the
// range, and returns those parts of it for which they had not.
//
// One range is one row, however many messages it has. A range keeps the time
// of its receipt while it is among the user's newest keptTimes in the
// conversation; older ones that touch become one, with the latest of their
// times: exact for what was read lately, and no later than told for the rest.
// The user's own messages, of which they give no receipt, do not keep ranges
// apart; any other gap does, for ever.
func (t *tx) PutReceipt(kind im.ReceiptKind, conversation im.ID, user im.UserID, r im.SeqRange, at time.Time) (seqs.Set, error) {
	if r.From > r.To {
		return nil, nil
	}
	key, err := t.intern(user)
	if err != nil {
		return nil, err
	}
	o := &receiptsOf{tx: t, conversation: int64(conversation), kind: int64(kind), user: key}
	before, err := o.ranges(selectReceipts, r.From, r.To)
	if err != nil {
		return nil, err
	}
	fresh := uncovered(r, before)
	if len(fresh) == 0 {
		return nil, nil
	}
	return fresh, o.add(r, fresh, before, at.UnixMilli())
}

// ranges runs a query for ranges, with the user's key before its arguments.
func (o *receiptsOf) ranges(query string, args ...any) ([]receiptRange, error) {
	var list []receiptRange
	err := o.session.query(query, append([]any{o.conversation, o.kind, o.user}, args...),
		func(rows *sql.Rows) (bool, error) {
			var r receiptRange
			err := rows.Scan(&r.from, &r.to, &r.at)
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
	var list []im.SeqRange
	err = r.session.query(selectReceipts, []any{int64(conversation), int64(kind), key, of.From, of.To},
		func(rows *sql.Rows) (bool, error) {
			var found im.SeqRange
			var at int64
			err := rows.Scan(&found.From, &found.To, &at)
			found.From, found.To = max(found.From, of.From), min(found.To, of.To)
			if found.From <= found.To {
				list = append(list, found)
			}
			return true, err
		})
	return list, err
}

// add stores the fresh parts of a range. before are the stored ranges from the
// one that begins before it to the last one within it.
func (o *receiptsOf) add(r im.SeqRange, fresh []im.SeqRange, before []receiptRange, at int64) error {
	following, err := o.ranges(selectReceiptAfter, r.To)
	if err != nil {
		return err
	}
	before = append(before, following...)
	list := slices.Clone(before)
	for _, f := range fresh {
		list = append(list, receiptRange{from: f.From, to: f.To, at: at})
	}
	slices.SortFunc(list, func(a, b receiptRange) int { return cmp.Compare(a.from, b.from) })
	if o.kind != int64(hidden) { // one's own messages are there to be hidden
		if err := o.bridge(list, at); err != nil {
			return err
		}
	}
	newer, _, err := o.count(list[len(list)-1].from, keptTimes)
	if err != nil {
		return err
	}
	after := settle(list, newer)
	if err := o.replace(before, after); err != nil {
		return err
	}
	if grown := len(after) - len(before); grown > 0 {
		return o.settleOld(grown)
	}
	return nil
}

// bridge closes the gaps of own messages alone next to ranges that were put
// just now.
func (o *receiptsOf) bridge(list []receiptRange, at int64) error {
	for i := range len(list) - 1 {
		r, next := &list[i], &list[i+1]
		if r.touches(*next) || r.at != at && next.at != at || next.from-r.to-1 > maxBridge {
			continue
		}
		var one int
		found, err := o.session.row(selectOthers, []any{o.conversation, r.to + 1, next.from - 1, o.user}, &one)
		if err != nil {
			return err
		}
		if !found {
			r.to = next.from - 1
		}
	}
	return nil
}

// count counts up to limit ranges that begin after a seq, and returns where the
// oldest of the newest so many begins.
func (o *receiptsOf) count(after int64, limit int) (n int, oldest int64, err error) {
	_, err = o.session.row(countReceipts, []any{o.conversation, o.kind, o.user, after, limit}, &n, &oldest)
	return n, oldest, err
}

// settleOld settles those ranges that by the addition of others are no longer
// among the newest.
func (o *receiptsOf) settleOld(grown int) error {
	n, oldest, err := o.count(0, keptTimes+1)
	if err != nil || n <= keptTimes {
		return err
	}
	before, err := o.ranges(selectOldReceipts, oldest, grown+1)
	if err != nil {
		return err
	}
	slices.Reverse(before)
	return o.replace(before, settle(before, keptTimes))
}

// replace stores the ranges after in place of those before.
func (o *receiptsOf) replace(before, after []receiptRange) error {
	is := make(map[int64]receiptRange, len(before))
	for _, r := range before {
		is[r.from] = r
	}
	for _, r := range after {
		if old, stays := is[r.from]; stays && old == r {
			delete(is, r.from)
			continue
		}
		delete(is, r.from) // overwritten
		if _, err := o.session.exec(putReceipt, o.conversation, o.kind, o.user, r.from, r.to, r.at); err != nil {
			return err
		}
	}
	for from := range is {
		if _, err := o.session.exec(deleteReceipt, o.conversation, o.kind, o.user, from); err != nil {
			return err
		}
	}
	return nil
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
