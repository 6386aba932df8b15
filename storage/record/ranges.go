package record

import (
	"cmp"
	"slices"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
)

// RangeKind is the meaning of a stored range of messages for its user.
type RangeKind uint8

// The kinds of ranges. Their numbers are stored: never reuse one.
const (
	Delivered RangeKind = 1 // the user gave a delivered receipt
	Read      RangeKind = 2 // the user gave a read receipt
	Hidden    RangeKind = 3 // the user has hidden the messages by their ids
)

// ReceiptRange returns the kind of the ranges as which receipts of a kind are stored.
func ReceiptRange(kind im.ReceiptKind) RangeKind {
	if kind == im.Read {
		return Read
	}
	return Delivered
}

// Range is a stored range of messages and when it was added, in milliseconds since the
// Unix epoch. It is one row, however many messages it has.
type Range struct {
	seqs.Range
	At int64
}

// Ranges is the storage of the ranges of one kind of one user in one conversation, in
// ascending order and without overlaps. An engine loads and stores them; [AddRange] decides
// what is stored. All methods return the engine's errors.
type Ranges interface {
	// From returns the last range that begins at or before from, if any, and the ranges
	// that begin after it and at or before to, ascending.
	From(from, to int64) ([]Range, error)
	// After returns the first range that begins after seq, or none.
	After(seq int64) ([]Range, error)
	// Before returns up to limit ranges that begin at or before seq, descending.
	Before(seq int64, limit int) ([]Range, error)
	// Count counts ranges that begin after the seq, up to limit, from the newest. oldest is
	// where the oldest counted range begins, 0 if there is none.
	Count(after int64, limit int) (n int, oldest int64, err error)
	// OthersIn reports whether another user has sent a message in the range.
	OthersIn(r seqs.Range) (bool, error)
	// Put stores a range. It replaces the range with the same From.
	Put(r Range) error
	// Delete deletes the range that begins at from.
	Delete(from int64) error
}

const (
	// keptTimes is the number of a user's newest ranges in a conversation that keep a time of their
	// own.
	keptTimes = 64
	// maxBridge is the longest run of the user's own messages that is skipped to merge two
	// ranges.
	maxBridge = 32
)

// AddRange adds a range of messages to the rows of a kind and returns the parts of it that
// were in none of them. Any errors are from the rows.
//
// A range keeps its time while it is among the user's newest 64 in the conversation. Older
// ranges that touch are merged and get the latest of their times: the time of an old range
// may be later than the true one, never earlier. A gap of at most maxBridge seqs between ranges of
// receipts is closed if all messages in it are the user's own, for which they give no receipt. A
// gap between hidden ranges stays, because a user can hide their own messages, too.
func AddRange(rows Ranges, kind RangeKind, r seqs.Range, at int64) (fresh seqs.Set, err error) {
	if r.Empty() {
		return nil, nil
	}
	before, err := rows.From(r.From, r.To)
	if err != nil {
		return nil, err
	}
	if fresh = (seqs.Set{r}).Without(setOf(before)); len(fresh) == 0 {
		return nil, nil
	}
	following, err := rows.After(r.To)
	if err != nil {
		return nil, err
	}
	before = append(before, following...)
	list := slices.Clone(before)
	for _, f := range fresh {
		list = append(list, Range{f, at})
	}
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	if kind != Hidden {
		if err := bridge(rows, list, at); err != nil {
			return nil, err
		}
	}
	newer, _, err := rows.Count(list[len(list)-1].From, keptTimes)
	if err != nil {
		return nil, err
	}
	after := merge(list, newer)
	if err := replace(rows, before, after); err != nil {
		return nil, err
	}
	if grown := len(after) - len(before); grown > 0 {
		return fresh, mergeOld(rows, grown)
	}
	return fresh, nil
}

// setOf returns the messages in the ranges.
func setOf(rows []Range) seqs.Set {
	s := make(seqs.Set, len(rows))
	for i, r := range rows {
		s[i] = r.Range
	}
	return s
}

// bridge closes gaps that hold only the user's own messages. It looks only at gaps next to
// ranges with the given time, which are those that were just added.
func bridge(rows Ranges, list []Range, at int64) error {
	for i := range len(list) - 1 {
		r, next := &list[i], &list[i+1]
		gap := seqs.Range{From: r.To + 1, To: next.From - 1}
		if gap.Empty() || r.At != at && next.At != at || gap.To-gap.From >= maxBridge {
			continue
		}
		others, err := rows.OthersIn(gap)
		if err != nil {
			return err
		}
		if !others {
			r.To = gap.To
		}
	}
	return nil
}

// merge joins neighbouring ranges where that is allowed. Two ranges that touch are joined if their
// times are equal, or if at least keptTimes ranges are newer than both. newer is the number of
// newer ranges that are not in the list. The joined range has the later time. Gaps are never
// closed.
func merge(list []Range, newer int) []Range {
	out := make([]Range, 0, len(list)) // newest first
	for _, r := range slices.Backward(list) {
		if n := len(out); n > 0 {
			if next := &out[n-1]; r.Touches(next.Range) && (r.At == next.At || newer+n > keptTimes) {
				next.From, next.At = r.From, max(r.At, next.At)
				continue
			}
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out
}

// mergeOld merges ranges that are no longer among the newest keptTimes because grown ranges
// were added.
func mergeOld(rows Ranges, grown int) error {
	n, oldest, err := rows.Count(0, keptTimes+1)
	if err != nil || n <= keptTimes {
		return err
	}
	before, err := rows.Before(oldest, grown+1)
	if err != nil {
		return err
	}
	slices.Reverse(before)
	return replace(rows, before, merge(before, keptTimes))
}

// replace stores the ranges in after and deletes those of before that are not in it.
func replace(rows Ranges, before, after []Range) error {
	obsolete := make(map[int64]Range, len(before))
	for _, r := range before {
		obsolete[r.From] = r
	}
	for _, r := range after {
		old, exists := obsolete[r.From]
		delete(obsolete, r.From) // unchanged, or overwritten below
		if exists && old == r {
			continue
		}
		if err := rows.Put(r); err != nil {
			return err
		}
	}
	for from := range obsolete {
		if err := rows.Delete(from); err != nil {
			return err
		}
	}
	return nil
}
