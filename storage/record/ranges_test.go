package record

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/internal/testsize"
	"github.com/imapi/imapi/seqs"
)

func row(from, to, at int64) Range { return Range{seqs.Range{From: from, To: to}, at} }

func TestMerge(t *testing.T) {
	for name, c := range map[string]struct {
		list  []Range
		newer int
		want  []Range
	}{
		"no ranges":                      {nil, 0, []Range{}},
		"touching, same time":            {[]Range{row(1, 1, 5), row(2, 4, 5)}, 0, []Range{row(1, 4, 5)}},
		"touching, different times":      {[]Range{row(1, 1, 5), row(2, 4, 6)}, 0, []Range{row(1, 1, 5), row(2, 4, 6)}},
		"gap, same time":                 {[]Range{row(1, 1, 5), row(3, 4, 5)}, 0, []Range{row(1, 1, 5), row(3, 4, 5)}},
		"touching, one of the newest 64": {[]Range{row(1, 1, 7), row(2, 4, 6)}, keptTimes - 1, []Range{row(1, 1, 7), row(2, 4, 6)}},
		"touching, older than newest 64": {[]Range{row(1, 1, 7), row(2, 4, 6)}, keptTimes, []Range{row(1, 4, 7)}},
		"gap, older than newest 64":      {[]Range{row(1, 1, 7), row(3, 4, 6)}, keptTimes, []Range{row(1, 1, 7), row(3, 4, 6)}},
		"touching, across the newest 64": {[]Range{row(1, 1, 1), row(2, 2, 2), row(3, 3, 3), row(4, 4, 4)}, keptTimes - 2, []Range{row(1, 2, 2), row(3, 3, 3), row(4, 4, 4)}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(c.want, merge(c.list, c.newer)); diff != "" {
				t.Errorf("merge(%v, %d) (-want +got):\n%s", c.list, c.newer, diff)
			}
		})
	}
}

// table is a [Ranges] in memory.
type table struct {
	rows []Range // ascending
	own  func(seq int64) bool
}

func (d *table) at(seq int64) int {
	i, _ := slices.BinarySearchFunc(d.rows, seq, func(r Range, seq int64) int { return cmp.Compare(r.From, seq) })
	return i
}

func (d *table) From(from, to int64) ([]Range, error) {
	i, j := d.at(from+1), d.at(to+1)
	if i > 0 {
		i-- // the last range that begins at or before from
	}
	return slices.Clone(d.rows[i:max(i, j)]), nil
}

func (d *table) After(seq int64) ([]Range, error) {
	i := d.at(seq + 1)
	return slices.Clone(d.rows[i:min(i+1, len(d.rows))]), nil
}

func (d *table) Before(seq int64, limit int) ([]Range, error) {
	i := d.at(seq + 1)
	list := slices.Clone(d.rows[max(0, i-limit):i])
	slices.Reverse(list)
	return list, nil
}

func (d *table) Count(after int64, limit int) (n int, oldest int64, err error) {
	n = min(limit, len(d.rows)-d.at(after+1))
	if n > 0 {
		oldest = d.rows[len(d.rows)-n].From
	}
	return n, oldest, nil
}

func (d *table) OthersIn(r seqs.Range) (bool, error) {
	for seq := r.From; seq <= r.To; seq++ {
		if !d.own(seq) {
			return true, nil
		}
	}
	return false, nil
}

func (d *table) Put(r Range) error {
	i := d.at(r.From)
	if i == len(d.rows) || d.rows[i].From != r.From {
		d.rows = slices.Insert(d.rows, i, r)
	}
	d.rows[i] = r
	return nil
}

func (d *table) Delete(from int64) error {
	i := d.at(from)
	if i == len(d.rows) || d.rows[i].From != from {
		return fmt.Errorf("no row begins at %d", from)
	}
	d.rows = slices.Delete(d.rows, i, i+1)
	return nil
}

// given is what the model knows about the range of one message.
type given struct {
	at int64
	// old is set once the range may have left the newest 64. Its time is then inexact.
	old bool
}

// checkRanges adds the ranges that data encodes, three bytes each, and compares the rows
// with a model that has an entry for each message. A bit in own is set for each message
// that the user has sent.
func checkRanges(t *testing.T, data []byte, own uint16, kind RangeKind) {
	d := &table{own: func(seq int64) bool { return own>>(seq%16)&1 == 1 }}
	model := map[int64]*given{}
	now := int64(1)
	for len(data) >= 3 {
		r := seqs.Range{From: 1 + int64(data[0]) + int64(data[2]>>6)*256}
		r.To = r.From + int64(data[1]>>(data[2]>>3&7)) - 1
		now += int64(data[2] & 3)
		data = data[3:]
		var want []int64
		for seq := r.From; seq <= r.To; seq++ {
			if model[seq] == nil && !slices.ContainsFunc(d.rows, func(row Range) bool { return row.Has(seq) }) {
				want = append(want, seq)
			}
		}
		was := slices.Clone(d.rows)
		fresh, err := AddRange(d, kind, r, now)
		if err != nil {
			t.Fatalf("%v at %d on top of %v: %v", r, now, was, err)
		}
		if !slices.Equal(fresh, seqs.Of(want...)) {
			t.Fatalf("%v at %d on top of %v: fresh = %v, want %v", r, now, was, fresh, seqs.Of(want...))
		}
		for _, seq := range want {
			model[seq] = &given{at: now}
		}
		for _, rows := range [][]Range{was, d.rows} {
			for seq, g := range model {
				newer := len(rows) - (&table{rows: rows}).at(seq+1)
				g.old = g.old || newer+len(fresh) >= keptTimes
			}
		}
		checkRows(t, d, model, now, kind)
	}
}

// checkRows checks the invariants of the rows.
func checkRows(t *testing.T, d *table, model map[int64]*given, now int64, kind RangeKind) {
	t.Helper()
	covered, apart := 0, 1
	for i, row := range d.rows {
		if row.Empty() || i > 0 && d.rows[i-1].To >= row.From {
			t.Fatalf("%v is not in ascending order, or overlaps", d.rows)
		}
		if i > 0 && !d.rows[i-1].Touches(row.Range) {
			apart++
		}
		for seq := row.From; seq <= row.To; seq++ {
			g := model[seq]
			switch {
			case g == nil && (kind == Hidden || !d.own(seq)):
				t.Fatalf("%d was not added, but is in %v", seq, row)
			case g == nil:
			case row.At < g.at || row.At > now || row.At != g.at && !g.old:
				t.Fatalf("%d was added at time %d, but is in %v of %v", seq, g.at, row, d.rows)
			default:
				covered++
			}
		}
	}
	if covered != len(model) {
		t.Fatalf("%d messages were added, but %d are in %v", len(model), covered, d.rows)
	}
	if len(d.rows) > apart+keptTimes {
		t.Fatalf("%d ranges for %d parts without gaps: %v", len(d.rows), apart, d.rows)
	}
}

// TestRangesModel adds many ranges in ascending and in random order.
func TestRangesModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range testsize.Pick(60, 20) {
		data := make([]byte, 3*(1+random.IntN(500)))
		for i := range data {
			data[i] = byte(random.Uint32())
			if i%3 == 2 && round%2 == 0 { // ascending, a few messages at a time
				data[i-1] = byte(1 + random.IntN(3))
				data[i-2] = byte(i)
				data[i] = byte(i/768)<<6 | 1
			}
		}
		kind := []RangeKind{Delivered, Read, Hidden}[round%3]
		checkRanges(t, data, uint16(random.Uint32()), kind)
	}
}

func FuzzAddRange(f *testing.F) {
	f.Add([]byte{1, 3, 1, 9, 3, 1, 4, 5, 1}, uint16(0), false)
	f.Add([]byte{1, 3, 1, 9, 3, 1, 0, 255, 255}, uint16(0xf0f0), false)
	f.Add([]byte{1, 1, 1, 3, 1, 1, 2, 1, 1}, uint16(0xffff), true)
	in := make([]byte, 0, 600)
	for i := range 200 {
		in = append(in, byte(i), 1, 1)
	}
	f.Add(in, uint16(0), false)
	f.Fuzz(func(t *testing.T, data []byte, own uint16, hide bool) {
		kind := Read
		if hide {
			kind = Hidden
		}
		checkRanges(t, data[:min(len(data), 300)], own, kind)
	})
}

// TestRangesFail checks that AddRange returns an error of its rows and makes no further
// call.
func TestRangesFail(t *testing.T) {
	fresh := func() *failing {
		d := &table{own: func(int64) bool { return false }}
		for i := range int64(2 * keptTimes) {
			if _, err := AddRange(d, Read, seqs.Range{From: 2*i + 1, To: 2*i + 1}, i); err != nil {
				t.Fatal(err)
			}
		}
		return &failing{table: d}
	}
	for at := 1; ; at++ {
		d := fresh()
		d.at = at
		_, err := AddRange(d, Read, seqs.Range{From: 2, To: 4*keptTimes + 9}, 1000)
		if d.calls < at {
			if err != nil || at < 8 {
				t.Errorf("after %d calls: %v", d.calls, err)
			}
			return
		}
		if !errors.Is(err, errRows) || d.calls != at {
			t.Fatalf("call %d failed, but %d calls were made: %v", at, d.calls, err)
		}
	}
}

var errRows = errors.New("for a test")

// failing is a table that fails at a given call.
type failing struct {
	*table
	at, calls int
}

func (d *failing) fails() error {
	if d.calls++; d.calls == d.at {
		return errRows
	}
	return nil
}

func (d *failing) From(from, to int64) ([]Range, error) {
	list, _ := d.table.From(from, to)
	return list, d.fails()
}

func (d *failing) After(seq int64) ([]Range, error) {
	list, _ := d.table.After(seq)
	return list, d.fails()
}

func (d *failing) Before(seq int64, limit int) ([]Range, error) {
	list, _ := d.table.Before(seq, limit)
	return list, d.fails()
}

func (d *failing) Count(after int64, limit int) (int, int64, error) {
	n, oldest, _ := d.table.Count(after, limit)
	return n, oldest, d.fails()
}

func (d *failing) OthersIn(r seqs.Range) (bool, error) {
	others, _ := d.table.OthersIn(r)
	return others, d.fails()
}

func (d *failing) Put(r Range) error {
	if err := d.fails(); err != nil {
		return err
	}
	return d.table.Put(r)
}

func (d *failing) Delete(from int64) error {
	if err := d.fails(); err != nil {
		return err
	}
	return d.table.Delete(from)
}
