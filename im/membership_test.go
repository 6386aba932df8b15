package im_test

import (
	"slices"
	"testing"

	"github.com/imapi/imapi/im"
)

// stay returns an interval of messages; to -1 is an open one.
func stay(from, to int64) im.Interval {
	i := im.Interval{FromEvent: 1, ToEvent: 2, FromSeq: from, ToSeq: to}
	if to == -1 {
		i.ToEvent, i.ToSeq = 0, 0
	}
	return i
}

func TestVisible(t *testing.T) {
	const lasts = -1
	type ranges = []im.SeqRange
	for _, test := range []struct {
		name    string
		history im.History
		lastSeq int64
		stays   []im.Interval
		want    ranges // nil for none
	}{
		{"never a member", im.HistoryJoined, 9, nil, nil},
		{"never a member, history for all", im.HistoryAll, 9, nil, nil},
		{"from the beginning", im.HistoryJoined, 9, []im.Interval{stay(1, lasts)}, ranges{{From: 1, To: 9}}},
		{"joined later", im.HistoryJoined, 9, []im.Interval{stay(4, lasts)}, ranges{{From: 4, To: 9}}},
		{"joined later, history for all", im.HistoryAll, 9, []im.Interval{stay(4, lasts)}, ranges{{From: 1, To: 9}}},
		{"joined after the last message", im.HistoryJoined, 9, []im.Interval{stay(10, lasts)}, nil},
		{"joined before the last message", im.HistoryJoined, 10, []im.Interval{stay(10, lasts)}, ranges{{From: 10, To: 10}}},
		{"joined after the last message, history for all", im.HistoryAll, 9, []im.Interval{stay(10, lasts)}, ranges{{From: 1, To: 9}}},
		{"no messages", im.HistoryJoined, 0, []im.Interval{stay(1, lasts)}, nil},
		{"left", im.HistoryJoined, 9, []im.Interval{stay(1, 5)}, nil},
		{"left, history for all", im.HistoryAll, 9, []im.Interval{stay(1, 5)}, nil},
		{"returned and left", im.HistoryJoined, 9, []im.Interval{stay(1, 2), stay(5, 6)}, nil},
		{"returned", im.HistoryJoined, 9, []im.Interval{stay(1, 2), stay(5, lasts)}, ranges{{From: 1, To: 2}, {From: 5, To: 9}}},
		{"returned, history for all", im.HistoryAll, 9, []im.Interval{stay(3, 4), stay(8, lasts)}, ranges{{From: 1, To: 9}}},
		{"missed one message", im.HistoryJoined, 9, []im.Interval{stay(1, 2), stay(4, lasts)}, ranges{{From: 1, To: 2}, {From: 4, To: 9}}},
		{"missed no message", im.HistoryJoined, 9, []im.Interval{stay(2, 4), stay(5, lasts)}, ranges{{From: 2, To: 9}}},
		{"missed no message in two absences", im.HistoryJoined, 9, []im.Interval{stay(2, 4), stay(5, 6), stay(7, lasts)}, ranges{{From: 2, To: 9}}},
		{"a stay without messages", im.HistoryJoined, 9, []im.Interval{stay(4, 3), stay(7, lasts)}, ranges{{From: 7, To: 9}}},
		{"a stay without messages between two others", im.HistoryJoined, 9, []im.Interval{stay(1, 2), stay(4, 3), stay(7, lasts)}, ranges{{From: 1, To: 2}, {From: 7, To: 9}}},
		{"a stay without messages between adjacent ones", im.HistoryJoined, 9, []im.Interval{stay(1, 2), stay(3, 2), stay(3, lasts)}, ranges{{From: 1, To: 9}}},
		{"returned after the last message", im.HistoryJoined, 9, []im.Interval{stay(1, 2), stay(10, lasts)}, ranges{{From: 1, To: 2}}},
		{
			"many", im.HistoryJoined, 20,
			[]im.Interval{stay(1, 1), stay(3, 5), stay(6, 6), stay(9, 10), stay(15, lasts)},
			ranges{{From: 1, To: 1}, {From: 3, To: 6}, {From: 9, To: 10}, {From: 15, To: 20}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := im.Conversation{Kind: im.Group, History: test.history, LastSeq: test.lastSeq}
			m := im.Membership{Intervals: test.stays}
			access := im.NewAccess(m, 0)
			got := access.Visible(c)
			if !slices.Equal(got, test.want) {
				t.Errorf("may read %v, want %v", got, test.want)
			}
			for seq := int64(-1); seq <= test.lastSeq+2; seq++ {
				want := slices.ContainsFunc(test.want, func(r im.SeqRange) bool { return r.From <= seq && seq <= r.To })
				if access.Sees(c, seq) != want {
					t.Errorf("sees message %d: %t, want %t", seq, !want, want)
				}
			}
			active := len(test.stays) > 0 && test.stays[len(test.stays)-1].ToEvent == 0
			if m.Active() != active || access.IsMember() != active {
				t.Errorf("active %t, a member by access %t, want %t", m.Active(), access.IsMember(), active)
			}
		})
	}
}

// TestNothingIsVisibleInAnEmptyConversation checks seqs around 0.
func TestNothingIsVisibleInAnEmptyConversation(t *testing.T) {
	c := im.Conversation{Kind: im.Group, History: im.HistoryAll}
	access := im.NewAccess(im.Membership{Intervals: []im.Interval{stay(1, -1)}}, 0)
	for seq := int64(-1); seq <= 2; seq++ {
		if access.Sees(c, seq) {
			t.Errorf("sees message %d of an empty conversation", seq)
		}
	}
}
