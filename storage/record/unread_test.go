package record_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

// unreadTable is what a [record.UnreadRows] in memory has of a conversation.
type unreadTable struct {
	counts, mentions map[int64]bool // the messages that count, and those that mention the user
	read, hidden     []seqs.Range   // the newest first
}

// unreadTables are those of several conversations, and how often each method was called.
type unreadTables struct {
	of                             map[im.ID]*unreadTable
	settled, gapsCounted, mentions int
	err                            error
}

func (u *unreadTables) Settled(bounds []record.Bounds, limit int) ([]record.Settled, error) {
	u.settled++
	list := make([]record.Settled, len(bounds))
	for i, b := range bounds {
		within := func(list []seqs.Range) (found []seqs.Range) {
			for _, r := range list {
				if r.From <= b.To && r.To >= b.From && len(found) < limit {
					found = append(found, r)
				}
			}
			return found
		}
		list[i] = record.Settled{Read: within(u.of[b.Conversation].read), Hidden: within(u.of[b.Conversation].hidden)}
	}
	return list, u.err
}

func (u *unreadTables) CountGaps(gaps []record.Gaps) ([]im.UnreadCount, error) {
	u.gapsCounted++
	return u.count(gaps, true), nil
}

func (u *unreadTables) CountMentions(gaps []record.Gaps) ([]im.UnreadCount, error) {
	u.mentions++
	return u.count(gaps, false), nil
}

func (u *unreadTables) count(gaps []record.Gaps, messages bool) []im.UnreadCount {
	counts := make([]im.UnreadCount, len(gaps))
	for i, of := range gaps {
		table := u.of[of.Conversation]
		for _, g := range of.Set {
			for seq := g.From; seq <= g.To; seq++ {
				if messages && table.counts[seq] {
					counts[i].Messages++
				}
				if table.mentions[seq] {
					counts[i].Mentions++
				}
			}
		}
	}
	return counts
}

// TestCountUnreadModel compares counts of several conversations with a scan of all messages,
// with few ranges and with more than one read returns.
func TestCountUnreadModel(t *testing.T) {
	random := rand.New(rand.NewPCG(71, 72))
	for round := range 12 {
		tables := &unreadTables{of: map[im.ID]*unreadTable{}}
		var queries []im.UnreadQuery
		var want []im.UnreadCount
		for i := range 5 {
			table, query, count := drawUnread(random, 5*round+i)
			query.Conversation = im.ID(i)
			tables.of[query.Conversation] = table
			queries, want = append(queries, query), append(want, count)
		}
		got, err := record.CountUnread(tables, queries)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("round %d: %v\n%s", round, err, diff)
		}
	}
}

// drawUnread makes a conversation, a query of it, and the right answer.
func drawUnread(random *rand.Rand, round int) (*unreadTable, im.UnreadQuery, im.UnreadCount) {
	u := &unreadTable{counts: map[int64]bool{}, mentions: map[int64]bool{}}
	n := 1 + random.Int64N(6000)
	settled := map[int64]bool{}
	for _, list := range []*[]seqs.Range{&u.read, &u.hidden} {
		for at := n - random.Int64N(20); at > 0; {
			r := seqs.Range{From: max(1, at-random.Int64N(4)), To: at}
			*list = append(*list, r)
			for seq := r.From; seq <= r.To; seq++ {
				settled[seq] = true
			}
			at = r.From - 2 - random.Int64N(int64(1+round*3))
		}
	}
	for seq := int64(1); seq <= n; seq++ {
		u.counts[seq] = random.IntN(5) > 0
		u.mentions[seq] = u.counts[seq] && random.IntN(1+round) == 0
	}
	from := 1 + random.Int64N(n)
	ranges := seqs.Union(seqs.Range{From: 1, To: from / 2}, seqs.Range{From: from, To: n})
	var want im.UnreadCount
	for seq := n; seq > 0; seq-- {
		if ranges.Has(seq) && !settled[seq] {
			if u.counts[seq] {
				want.Messages++
			}
			if u.mentions[seq] {
				want.Mentions++
			}
		}
	}
	return u, im.UnreadQuery{Ranges: ranges}, want.Capped()
}

// TestCountUnreadInOrder checks that for a user who has read in order, two reads of rows suffice,
// however long the histories are and however many there are.
func TestCountUnreadInOrder(t *testing.T) {
	u := &unreadTables{of: map[im.ID]*unreadTable{}}
	var queries []im.UnreadQuery
	for id := range im.ID(100) {
		u.of[id] = &unreadTable{counts: map[int64]bool{999_999: true, 1_000_000: true}, read: []seqs.Range{{From: 1, To: 999_998}}}
		queries = append(queries, im.UnreadQuery{Conversation: id, Ranges: seqs.Set{{From: 1, To: 1_000_000}}})
	}
	got, err := record.CountUnread(u, queries)
	if err != nil || u.settled != 1 || u.gapsCounted != 1 || u.mentions != 0 {
		t.Errorf("%v, after %d, %d and %d reads", err, u.settled, u.gapsCounted, u.mentions)
	}
	for _, n := range got {
		if n != (im.UnreadCount{Messages: 2}) {
			t.Errorf("%+v, want 2", n)
		}
	}
}

func TestCountUnreadFails(t *testing.T) {
	u := &unreadTables{of: map[im.ID]*unreadTable{0: {}}, err: errors.New("no disk")}
	if _, err := record.CountUnread(u, []im.UnreadQuery{{Ranges: seqs.Set{{From: 1, To: 5}}}}); !errors.Is(err, u.err) {
		t.Errorf("got %v, want %v", err, u.err)
	}
}
