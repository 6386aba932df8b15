package seqs_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/imapi/imapi/seqs"
)

func ExampleSet() {
	visible := seqs.Union(seqs.Range{From: 20, To: 29}, seqs.Range{From: 1, To: 9})
	read := seqs.Of(1, 2, 3, 25, 26)
	unread := visible.Without(read)
	fmt.Println(unread)
	fmt.Println(unread.Split(5))
	fmt.Println(unread.Between(5, 22), unread.And(seqs.Of(3, 4, 5)), unread.Has(26), unread.End())
	// Output:
	// [{4 9} {20 24} {27 29}]
	// [{4 9} {20 22}] [{23 24} {27 29}]
	// [{6 9} {20 21}] [{4 5}] false 29
}

func TestBounds(t *testing.T) {
	const last = math.MaxInt64
	all := seqs.Set{{From: 1, To: last}}
	for name, test := range map[string]struct{ got, want any }{
		"union up to the greatest":   {seqs.Union(seqs.Range{From: 5, To: last}, seqs.Range{From: 1, To: 4}, seqs.Range{From: 9, To: 9}), all},
		"between without bounds":     {all.Between(0, 0), all},
		"after all but the greatest": {len(all.Between(last-1, 0)), 1},
		"without the greatest":       {all.Without(seqs.Of(last)), seqs.Set{{From: 1, To: last - 1}}},
		"without itself":             {len(all.Without(all)), 0},
		"has the greatest":           {all.Has(last), true},
		"empty set has":              {seqs.Set(nil).Has(1), false},
		"end of the empty set":       {seqs.Set(nil).End(), int64(0)},
		"of no seqs":                 {len(seqs.Of()), 0},
		"of unsorted seqs":           {seqs.Of(3, 1, 2, 3, 7), seqs.Set{{From: 1, To: 3}, {From: 7, To: 7}}},
		"union of an empty range":    {len(seqs.Union(seqs.Range{From: 2, To: 1})), 0},
		"union of nested ranges":     {seqs.Union(seqs.Range{From: 1, To: 9}, seqs.Range{From: 3, To: 4}), seqs.Set{{From: 1, To: 9}}},
		"within an empty range":      {len(all.Within(seqs.Range{From: 5, To: 4})), 0},
	} {
		if !reflect.DeepEqual(test.got, test.want) {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}
}

// naive is a set of the seqs 1 to 63.
type naive map[int64]bool

const most = 63

// draw decodes fuzz data twice: as arbitrary ranges, and as the ranges of a set.
func draw(data []byte) (list []seqs.Range, set seqs.Set) {
	var from int64 = 1
	for _, b := range data {
		gap, length := int64(b>>4), int64(b&15)
		from += gap
		if to := from + length; to <= most {
			set = append(set, seqs.Range{From: from, To: to})
			from = to + 1
		}
		list = append(list, seqs.Range{From: 1 + 3*gap, To: 3*gap + length})
	}
	return list, set
}

func elements(ranges []seqs.Range) naive {
	n := naive{}
	for _, r := range ranges {
		for seq := r.From; seq <= r.To; seq++ {
			n[seq] = true
		}
	}
	return n
}

func (n naive) where(holds func(seq int64) bool) naive {
	out := naive{}
	for seq := range n {
		if holds(seq) {
			out[seq] = true
		}
	}
	return out
}

// FuzzSet compares every operation with the same operation on a naive set.
func FuzzSet(f *testing.F) {
	f.Add([]byte{0x15, 0x01, 0x30}, []byte{0x00, 0x12, 0xf0}, uint8(4), uint8(30))
	f.Add([]byte{}, []byte{0x2f}, uint8(0), uint8(0))
	f.Add([]byte{0x0f, 0x0f, 0x0f, 0x0f}, []byte{0x10, 0x10, 0x10, 0x10, 0x10, 0x10}, uint8(63), uint8(1))
	f.Fuzz(func(t *testing.T, one, two []byte, low, high uint8) {
		ranges, a := draw(one)
		_, b := draw(two)
		wasA, wasB := slices.Clone(a), slices.Clone(b)
		inA, inB := elements(a), elements(b)
		after, before := int64(low%(most+2)), int64(high%(most+2))
		check := func(what string, got seqs.Set, want naive) {
			t.Helper()
			for i, r := range got {
				if r.Empty() || i > 0 && got[i-1].To >= r.From {
					t.Errorf("%s of %v and %v: %v is not a valid set", what, wasA, wasB, got)
				}
			}
			if !reflect.DeepEqual(elements(got), want) {
				t.Errorf("%s of %v and %v with %d and %d: %v", what, wasA, wasB, after, before, got)
			}
		}
		union := seqs.Union(ranges...)
		check("union", union, elements(ranges))
		for i := range union {
			if i > 0 && union[i-1].Touches(union[i]) {
				t.Errorf("the union of %v has more ranges than necessary: %v", ranges, union)
			}
		}
		var list []int64
		for seq := range inA {
			list = append(list, seq, seq)
		}
		check("of", seqs.Of(list...), inA)
		check("and", a.And(b), inA.where(func(seq int64) bool { return inB[seq] }))
		check("without", a.Without(b), inA.where(func(seq int64) bool { return !inB[seq] }))
		check("between", a.Between(after, before),
			inA.where(func(seq int64) bool { return seq > after && (before == 0 || seq < before) }))
		check("within", a.Within(seqs.Range{From: after, To: before}),
			inA.where(func(seq int64) bool { return after <= seq && seq <= before }))
		older, newest := a.Split(max(1, after))
		first := int64(math.MaxInt64)
		if len(newest) > 0 {
			first = newest[0].From
		}
		check("older", older, inA.where(func(seq int64) bool { return seq < first }))
		check("newest", newest, inA.where(func(seq int64) bool { return seq >= first }))
		if got := len(elements(newest)); got != min(len(inA), int(max(1, after))) {
			t.Errorf("the newest %d of %v are %v", max(1, after), a, newest)
		}
		for seq := range int64(most + 2) {
			if a.Has(seq) != inA[seq] {
				t.Errorf("%v.Has(%d) = %t", a, seq, a.Has(seq))
			}
		}
		if !slices.Equal(a, wasA) || !slices.Equal(b, wasB) {
			t.Errorf("%v and %v were changed to %v and %v", wasA, wasB, a, b)
		}
	})
}
