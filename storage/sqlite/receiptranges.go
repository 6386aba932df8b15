package sqlite

import (
	"slices"

	"github.com/imapi/imapi/im"
)

// receiptRange is a range of messages that a user got or read, and when, in
// milliseconds. Those of one user are rising and apart from each other.
type receiptRange struct{ from, to, at int64 }

// touches reports whether no message lies between a range and the one after it.
func (r receiptRange) touches(next receiptRange) bool { return r.to+1 >= next.from }

// uncovered returns the parts of a range that none of the others, which are
// rising and apart, covers.
func uncovered(r im.SeqRange, by []receiptRange) []im.SeqRange {
	var parts []im.SeqRange
	for _, b := range by {
		if b.to < r.From || b.from > r.To {
			continue
		}
		if r.From < b.from {
			parts = append(parts, im.SeqRange{From: r.From, To: b.from - 1})
		}
		r.From = b.to + 1
	}
	if r.From <= r.To {
		parts = append(parts, r)
	}
	return parts
}

// keptTimes is how many of a user's newest ranges of a conversation keep their
// own time.
const keptTimes = 64

// settle returns the ranges with fewer of them where nothing is lost that is
// promised: two that touch become one if their times are equal, or if newer of
// the user's ranges plus those after them in the list are keptTimes or more;
// then the later time counts. A gap is never closed.
func settle(list []receiptRange, newer int) []receiptRange {
	out := make([]receiptRange, 0, len(list)) // newest first
	for _, r := range slices.Backward(list) {
		if n := len(out); n > 0 {
			if next := &out[n-1]; r.touches(*next) && (r.at == next.at || newer+n > keptTimes) {
				next.from, next.at = r.from, max(r.at, next.at)
				continue
			}
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out
}
