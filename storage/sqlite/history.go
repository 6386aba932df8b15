package sqlite

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

// historyScan is the maximum number of messages that one page examines.
const historyScan = 2000

// senderScan is historyScan for the messages of one sender, which is more because the index
// contains the sender.
const senderScan = 10 * historyScan

// rangeCost is the cost of starting another range, in messages.
const rangeCost = 10

// history builds one page.
//
// A page in the order of time merges two scans, see [history.byTime]. Every other page follows one
// index: that by type for messages of any sender and of one type other than text, and otherwise
// that by seq. Conditions that the index does not cover are filtered while scanning. The scan is
// then measured first, so that it has no more rows than the budget allows. Conditions that nearly
// every message meets (active, recent, visible to all) are not filtered in SQL: other messages are
// dropped after reading them and count against the budget.
type history struct {
	r      *reader
	q      im.HistoryQuery
	sender int64

	index  string
	equal  string // the condition that the index covers
	args   []any  // arguments of equal
	filter string // the other conditions
	extra  []any  // arguments of filter

	budget   int  // rows that may still be read
	size     int  // bytes of content on the page
	measured bool // the rows of the scan are already counted
	page     im.HistoryPage
}

// Messages returns a page of a conversation's history.
func (r *reader) Messages(q im.HistoryQuery) (im.HistoryPage, error) {
	h := &history{r: r, q: q, budget: historyScan}
	if q.Limit <= 0 || len(q.Ranges) == 0 {
		return h.page, nil
	}
	if q.Sender != "" {
		var err error
		if h.sender, err = r.userKey(q.Sender); err != nil || h.sender == 0 {
			return h.page, err
		}
	}
	h.choose()
	if err := h.excludeHidden(); err != nil {
		return h.page, err
	}
	if q.ByTime() {
		return h.page, h.byTime()
	}
	return h.page, h.bySeq()
}

// choose chooses the index and the filters.
func (h *history) choose() {
	h.equal, h.args = "m.conversation_id = ?", []any{int64(h.q.Conversation)}
	bySender, byType := h.sender != 0, h.q.Type != 0
	switch {
	case h.q.ByTime(): // see byTime
	case bySender:
		// The sender is in the index, so more rows can be scanned.
		h.index = "messages_by_seq"
		h.budget = senderScan
	case byType && h.q.Type != im.Text:
		h.index, byType = "messages_by_type", false
		h.equal += " AND m.type = ? AND m.type <> {text}"
		h.args = append(h.args, int64(h.q.Type))
	default:
		h.index = "messages_by_seq"
	}
	if bySender {
		h.filter += " AND +m.sender_id = ?"
		h.extra = append(h.extra, h.sender)
	}
	if byType {
		h.filter += " AND +m.type = ?"
		h.extra = append(h.extra, int64(h.q.Type))
	}
}

const (
	selectAnyRange = "SELECT 1 FROM seq_ranges WHERE conversation_id = ? AND kind = ? AND user_id = ? LIMIT 1"
	// notHidden excludes messages in a range of a user.
	notHidden = ` AND coalesce((SELECT to_seq FROM seq_ranges WHERE conversation_id = ? AND kind = ? AND user_id = ?
		AND from_seq <= m.seq ORDER BY from_seq DESC LIMIT 1), 0) < m.seq`
)

// excludeHidden excludes the messages that the reader has hidden by id, if there are any.
func (h *history) excludeHidden() error {
	if h.q.Reader == "" {
		return nil
	}
	reader, err := h.r.userKey(h.q.Reader)
	if err != nil || reader == 0 {
		return err
	}
	args := []any{int64(h.q.Conversation), int64(record.Hidden), reader}
	var one int
	found, err := h.r.session.row(selectAnyRange, args, &one)
	if err != nil || !found {
		return err
	}
	h.filter += notHidden
	h.extra = append(h.extra, args...)
	return nil
}

// order returns the direction of the scan in SQL.
func (h *history) order() string {
	if h.q.Ascending {
		return "ASC"
	}
	return "DESC"
}

// bySeq scans the ranges one after the other.
func (h *history) bySeq() error {
	ranges := slices.Clone(h.q.Ranges)
	if !h.q.Ascending {
		slices.Reverse(ranges)
	}
	for i, rng := range ranges {
		h.narrow(&rng, h.q.Past)
		if rng.From > rng.To {
			continue
		}
		full, err := h.walkSeqs(rng)
		if err != nil || full {
			return err
		}
		if h.budget <= 0 && i < len(ranges)-1 {
			end := rng.From
			if h.q.Ascending {
				end = rng.To
			}
			h.page.Next = &im.HistoryKey{Seq: end}
			return nil
		}
	}
	return nil
}

// walkSeqs adds the messages of a range and reports whether the page is complete.
func (h *history) walkSeqs(rng im.SeqRange) (full bool, err error) {
	h.budget -= rangeCost
	stop := int64(0) // the last seq of the scan, if that ends before the range
	if h.filter != "" {
		seqs, err := h.measureRange(rng)
		if err != nil {
			return true, err
		}
		if seqs.rows == 0 {
			return false, nil
		}
		h.budget -= seqs.rows
		if h.budget <= 0 {
			stop = seqs.last
			if h.q.Ascending {
				rng.To = stop
			} else {
				rng.From = stop
			}
		}
	}
	query := fmt.Sprintf(`SELECT %s FROM messages m INDEXED BY %s
		WHERE %s AND m.seq BETWEEN ? AND ?%s ORDER BY m.seq %s LIMIT ?`,
		messageColumns+withSmallContent, h.index, h.equal, h.filter, h.order())
	full, err = h.collect(query, func(past *im.HistoryKey) []any {
		h.narrow(&rng, past)
		return slices.Concat(h.args, []any{rng.From, rng.To}, h.extra)
	})
	if err != nil || full {
		return true, err
	}
	if stop != 0 {
		h.page.Next = &im.HistoryKey{Seq: stop}
		return true, nil
	}
	return false, nil
}

// span is the part of a range that is scanned: its number of rows and its last seq.
type span struct {
	rows int
	last int64
}

// measureRange finds how much of a range the budget covers. It only reads the index.
func (h *history) measureRange(rng im.SeqRange) (s span, err error) {
	end := "max"
	if !h.q.Ascending {
		end = "min"
	}
	query := fmt.Sprintf(`SELECT count(*), coalesce(%s(seq), 0) FROM (
		SELECT m.seq FROM messages m INDEXED BY %s WHERE %s AND m.seq BETWEEN ? AND ?
		ORDER BY m.seq %s LIMIT ?)`, end, h.index, h.equal, h.order())
	args := slices.Concat(h.args, []any{rng.From, rng.To, max(h.budget, 1)})
	_, err = h.r.session.row(query, args, &s.rows, &s.last)
	return s, err
}

// narrow removes from a range what the pages up to the key past have covered, nothing if it is nil.
func (h *history) narrow(rng *im.SeqRange, past *im.HistoryKey) {
	switch {
	case past == nil:
	case h.q.Ascending:
		rng.From = max(rng.From, past.Seq+1)
	default:
		rng.To = min(rng.To, past.Seq-1)
	}
}

// historyRoom is the maximum number of messages for which memory is allocated in advance.
const historyRoom = 64

// furtherRows is the number of rows that are read at once if the first ones did not fill the page
// because few of them are visible.
const furtherRows = 256

// collect adds the results of a query to the page, up to the limit. args returns its arguments for
// the rows past a key, except the last one, which is the limit. One more row means that there is a
// next page.
func (h *history) collect(query string, args func(past *im.HistoryKey) []any) (full bool, err error) {
	h.page.Messages = slices.Grow(h.page.Messages, min(h.q.Limit-len(h.page.Messages), historyRoom))
	var end im.HistoryKey // of the last row
	var last *im.HistoryKey
	for limit := h.q.Limit - len(h.page.Messages) + 1; ; limit = furtherRows {
		n := 0
		err = h.r.session.list(query, append(args(last), limit), func(row packedRow) (bool, error) {
			if len(h.page.Messages) == h.q.Limit || h.size >= im.EnoughContent {
				m := &h.page.Messages[len(h.page.Messages)-1]
				h.page.Next = &im.HistoryKey{CreatedAt: m.CreatedAt, Seq: m.Seq}
				full = true
				return false, nil
			}
			m, err := h.r.showMessage(row)
			n, end = n+1, im.HistoryKey{CreatedAt: m.CreatedAt, Seq: m.Seq}
			last = &end
			if err == nil {
				full = h.add(m)
			}
			return !full, err
		})
		if err != nil || full || n < limit {
			return full, err
		}
	}
}

// add adds a message that a scan has read to the page, if it is visible. It reports whether
// the budget is used up.
func (h *history) add(m im.Message) (full bool) {
	if h.q.Ranges.Has(m.Seq) && h.visible(m) {
		h.page.Messages = append(h.page.Messages, m)
		if m.Content != nil {
			h.size += len(m.Content.Sent)
		}
		return false
	}
	if h.filter != "" || h.measured {
		return false
	}
	if h.budget--; h.budget > 0 {
		return false
	}
	h.page.Next = &im.HistoryKey{CreatedAt: m.CreatedAt, Seq: m.Seq}
	return true
}

// visible reports whether the reader may see a message: it is not older than Since, not only for
// another user, and active if only active messages were requested.
func (h *history) visible(m im.Message) bool {
	return !m.CreatedAt.Before(h.q.Since) &&
		(m.VisibleTo == "" || h.q.Reader == "" || m.VisibleTo == h.q.Reader) &&
		(h.q.ActiveAt.IsZero() || m.AsOf(h.q.ActiveAt).State == im.Active)
}

// timeRange is a range of the order by time, both ends included. It is one row comparison
// for each end, because SQLite seeks to only one and would check further conditions on
// every row.
type timeRange struct{ from, to im.HistoryKey }

const (
	inTimeRange = " AND (m.created_at, m.seq) >= (?, ?) AND (m.created_at, m.seq) <= (?, ?)"
	// inTimesOf is inTimeRange for rows that are found by another range.
	inTimesOf = " AND (m.created_at, +m.seq) >= (?, ?) AND (m.created_at, +m.seq) <= (?, ?)"
)

// narrow is like [history.narrow].
func (r *timeRange) narrow(past *im.HistoryKey, ascending bool) {
	switch {
	case past == nil:
	case ascending:
		r.from = im.HistoryKey{CreatedAt: past.CreatedAt, Seq: past.Seq + 1}
	default:
		r.to = im.HistoryKey{CreatedAt: past.CreatedAt, Seq: past.Seq - 1}
	}
}

func (r timeRange) args() []any {
	return []any{r.from.CreatedAt.UnixMilli(), r.from.Seq, r.to.CreatedAt.UnixMilli(), r.to.Seq}
}

// byTime scans the time range twice: the timed messages by time, and the others by seq,
// which is the order of their times. Each scan makes a page; the result ends where the
// shorter one does.
func (h *history) byTime() error {
	walk := h.timeRange()
	byTime, bySeq := *h, *h
	if err := byTime.timed(walk); err != nil {
		return err
	}
	if err := bySeq.untimed(walk); err != nil {
		return err
	}
	order := func(a, b im.HistoryKey) int {
		by := cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Seq, b.Seq))
		if !h.q.Ascending {
			by = -by
		}
		return by
	}
	keyOf := func(m im.Message) im.HistoryKey { return im.HistoryKey{CreatedAt: m.CreatedAt, Seq: m.Seq} }
	h.page.Next = byTime.page.Next
	if next := bySeq.page.Next; h.page.Next == nil || next != nil && order(*next, *h.page.Next) < 0 {
		h.page.Next = next
	}
	list := slices.Concat(byTime.page.Messages, bySeq.page.Messages)
	slices.SortFunc(list, func(a, b im.Message) int { return order(keyOf(a), keyOf(b)) })
	if next := h.page.Next; next != nil {
		list = slices.DeleteFunc(list, func(m im.Message) bool { return order(keyOf(m), *next) > 0 })
	}
	if len(list) > h.q.Limit {
		list = list[:h.q.Limit]
		last := keyOf(list[h.q.Limit-1])
		h.page.Next = &last
	}
	h.page.Messages = list
	return nil
}

// timed scans the timed messages. The ranges of seqs are a filter here, so that messages outside
// them are not read.
func (h *history) timed(walk timeRange) error {
	h.index = "messages_by_time"
	if !h.readsAll() {
		h.filter += " AND +m.seq BETWEEN ? AND ?"
		h.extra = slices.Concat(h.extra, []any{h.q.Ranges[0].From, h.q.Ranges[len(h.q.Ranges)-1].To})
	}
	where := h.equal + " AND m.timed = 1" + inTimeRange
	order := fmt.Sprintf("m.created_at %[1]s, m.seq %[1]s", h.order())
	var stop *im.HistoryKey // the last key of the scan, if that ends before the range
	if h.filter != "" {
		measure := fmt.Sprintf("SELECT m.created_at, m.seq FROM messages m INDEXED BY %s WHERE %s ORDER BY %s LIMIT ?",
			h.index, where, order)
		rows, last, err := h.measure(measure, slices.Concat(h.args, walk.args()), func(at int64) time.Time { return fromMillis(at) })
		if err != nil || rows == 0 {
			return err
		}
		if h.q.Ascending {
			walk.to = last
		} else {
			walk.from = last
		}
		if rows == h.budget {
			stop = &last
		}
	}
	query := fmt.Sprintf("SELECT %s FROM messages m INDEXED BY %s WHERE %s%s ORDER BY %s LIMIT ?",
		messageColumns+withSmallContent, h.index, where, h.filter, order)
	full, err := h.collect(query, func(past *im.HistoryKey) []any {
		walk.narrow(past, h.q.Ascending)
		return slices.Concat(h.args, walk.args(), h.extra)
	})
	if err == nil && !full {
		h.page.Next = stop
	}
	return err
}

// untimed scans the seqs of the time range as far as the budget reaches, and skips timed
// messages.
func (h *history) untimed(walk timeRange) error {
	h.index = "messages_by_seq"
	seqs := im.SeqRange{From: h.q.Ranges[0].From, To: h.q.Ranges[len(h.q.Ranges)-1].To}
	from, err := h.r.seqAt(int64(h.q.Conversation), walk.from.CreatedAt.UnixMilli())
	if err != nil {
		return err
	}
	to := int64(math.MaxInt64)
	if last := walk.to.CreatedAt.UnixMilli(); last < math.MaxInt64 {
		if to, err = h.r.seqAt(int64(h.q.Conversation), last+1); err != nil {
			return err
		}
	}
	seqs.From, seqs.To = max(seqs.From, from), min(seqs.To, to-1)
	if seqs.From > seqs.To {
		return nil
	}
	where := h.equal + " AND m.seq BETWEEN ? AND ?"
	order := "m.seq " + h.order()
	measure := fmt.Sprintf("SELECT m.id, m.seq FROM messages m INDEXED BY %s WHERE %s ORDER BY %s LIMIT ?", h.index, where, order)
	rows, last, err := h.measure(measure, slices.Concat(h.args, []any{seqs.From, seqs.To}), func(id int64) time.Time { return im.ID(id).Made() })
	if err != nil || rows == 0 {
		return err
	}
	if h.q.Ascending {
		seqs.To = last.Seq
	} else {
		seqs.From = last.Seq
	}
	query := fmt.Sprintf("SELECT %s FROM messages m INDEXED BY %s WHERE %s AND m.timed = 0 %s%s ORDER BY %s LIMIT ?",
		messageColumns+withSmallContent, h.index, where, inTimesOf, h.filter, order)
	h.measured = true
	full, err := h.collect(query, func(past *im.HistoryKey) []any {
		h.narrow(&seqs, past)
		return slices.Concat(h.args, []any{seqs.From, seqs.To}, walk.args(), h.extra)
	})
	if err == nil && !full && rows == h.budget {
		h.page.Next = &last
	}
	return err
}

// measure finds how far the budget reaches in an index and returns the last key. at
// converts the first column of the query to a time.
func (h *history) measure(query string, args []any, at func(int64) time.Time) (rows int, last im.HistoryKey, err error) {
	err = h.r.session.query(query, append(args, h.budget), func(row row) (bool, error) {
		var first int64
		err := row.Scan(&first, &last.Seq)
		last.CreatedAt, rows = at(first), rows+1
		return true, err
	})
	return rows, last, err
}

// readsAll reports whether the ranges cover the whole history.
func (h *history) readsAll() bool {
	if len(h.q.Ranges) != 1 {
		return false
	}
	c, err := h.r.Conversation(h.q.Conversation)
	return err == nil && h.q.Ranges[0].From <= c.FirstSeq && c.LastSeq <= h.q.Ranges[0].To
}

// timeRange returns the requested time range without the pages before.
func (h *history) timeRange() timeRange {
	r := timeRange{
		from: im.HistoryKey{CreatedAt: fromMillis(math.MinInt64)},
		to:   im.HistoryKey{CreatedAt: fromMillis(math.MaxInt64)},
	}
	if !h.q.From.IsZero() {
		r.from = im.HistoryKey{CreatedAt: ceilMillis(h.q.From)}
	}
	if since := ceilMillis(h.q.Since); r.from.CreatedAt.Before(since) && !h.q.Since.IsZero() {
		r.from = im.HistoryKey{CreatedAt: since}
	}
	if !h.q.To.IsZero() {
		r.to = im.HistoryKey{CreatedAt: ceilMillis(h.q.To)} // seqs begin at 1
	}
	past := h.q.Past
	if past != nil && (h.q.Ascending && !past.CreatedAt.Before(r.from.CreatedAt) || !h.q.Ascending && past.CreatedAt.Before(r.to.CreatedAt)) {
		r.narrow(past, h.q.Ascending)
	}
	return r
}

// ceilMillis rounds a time up to a millisecond. Stored times have no fraction, so a message
// created within the same millisecond is before t.
func ceilMillis(t time.Time) time.Time {
	ms := fromMillis(t.UnixMilli())
	if t.After(ms) {
		ms = ms.Add(time.Millisecond)
	}
	return ms
}
