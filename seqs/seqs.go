// Package seqs has sets of message sequence numbers (seqs) of a conversation, stored as
// ranges: what a member may read, has read, has hidden or has not read. The cost of a set
// depends on the number of its gaps, not on the number of messages.
package seqs

import (
	"cmp"
	"slices"
)

// Range is a range of seqs, both ends included. It is empty if From is greater than To.
type Range struct{ From, To int64 }

// Empty reports whether the range holds no seq.
func (r Range) Empty() bool { return r.From > r.To }

// Has reports whether a seq is in the range.
func (r Range) Has(seq int64) bool { return r.From <= seq && seq <= r.To }

// Touches reports whether no seq lies between the range and next, which must not begin before the
// range does.
func (r Range) Touches(next Range) bool { return next.From-1 <= r.To }

// clip returns the intersection of two ranges.
func (r Range) clip(to Range) Range { return Range{From: max(r.From, to.From), To: min(r.To, to.To)} }

// Set is a set of seqs: non-empty ranges in ascending order that do not overlap. Seqs are 1
// or greater. No method changes its receiver or its arguments.
type Set []Range

// Of returns the set of the given seqs, which may be in any order and repeat.
func Of(seqs ...int64) Set {
	var s Set
	for _, seq := range slices.Compact(slices.Sorted(slices.Values(seqs))) {
		if n := len(s); n > 0 && s[n-1].To == seq-1 {
			s[n-1].To = seq
			continue
		}
		s = append(s, Range{From: seq, To: seq})
	}
	return s
}

// Union returns the union of the ranges with as few ranges as possible. They may be in any
// order and overlap.
func Union(ranges ...Range) Set {
	s := make(Set, 0, len(ranges))
	for _, r := range slices.SortedFunc(slices.Values(ranges), func(a, b Range) int { return cmp.Compare(a.From, b.From) }) {
		switch n := len(s); {
		case r.Empty():
		case n > 0 && s[n-1].Touches(r):
			s[n-1].To = max(s[n-1].To, r.To)
		default:
			s = append(s, r)
		}
	}
	return s
}

// Has reports whether a seq is in the set, by binary search.
func (s Set) Has(seq int64) bool {
	i, found := slices.BinarySearchFunc(s, seq, func(r Range, seq int64) int { return cmp.Compare(r.From, seq) })
	if found {
		return s[i].Has(seq)
	}
	return i > 0 && s[i-1].Has(seq)
}

// End returns the greatest seq of the set, 0 if it is empty.
func (s Set) End() int64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].To
}

// Between returns the seqs between after and before, both excluded. If before is 0, there
// is no upper bound.
func (s Set) Between(after, before int64) Set {
	bounds := Range{From: after + 1, To: before - 1}
	if before <= 0 {
		bounds.To = s.End()
	}
	return s.Within(bounds)
}

// Within returns the seqs within a range.
func (s Set) Within(bounds Range) Set {
	out := make(Set, 0, len(s))
	for _, r := range s {
		if r = r.clip(bounds); !r.Empty() {
			out = append(out, r)
		}
	}
	return out
}

// And returns the intersection of two sets.
func (s Set) And(other Set) Set {
	var out Set
	for i, j := 0, 0; i < len(s) && j < len(other); {
		if r := s[i].clip(other[j]); !r.Empty() {
			out = append(out, r)
		}
		if s[i].To < other[j].To {
			i++
		} else {
			j++
		}
	}
	return out
}

// Without returns the seqs that are in the set and not in the other.
func (s Set) Without(other Set) Set {
	var out Set
	for _, r := range s {
		for len(other) > 0 && other[0].To < r.From {
			other = other[1:]
		}
		for i := 0; i < len(other) && other[i].From <= r.To; i++ {
			if r.From < other[i].From {
				out = append(out, Range{From: r.From, To: other[i].From - 1})
			}
			if other[i].To >= r.To { // nothing is left; To+1 may overflow
				r = Range{From: 1}
				break
			}
			r.From = other[i].To + 1
		}
		if !r.Empty() {
			out = append(out, r)
		}
	}
	return out
}

// Split divides the set into its greatest n seqs, or all if there are fewer, and the seqs
// below them.
func (s Set) Split(n int64) (older, newest Set) {
	for i, r := range slices.Backward(s) {
		if size := r.To - r.From + 1; size < n {
			n -= size
			continue
		}
		middle := r.To - n + 1
		newest = append(Set{{From: middle, To: r.To}}, s[i+1:]...)
		older = s[:i:i]
		if r.From < middle {
			older = append(older, Range{From: r.From, To: middle - 1})
		}
		return older, newest
	}
	return nil, s
}
