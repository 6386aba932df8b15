package record_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
	"github.com/imapi/imapi/storage/record"
)

// unreadTable is an [UnreadRows] in memory.
type unreadTable struct {
	counts, mentions map[int64]bool // the messages that count, and those that mention the user
	read, hidden     []seqs.Range   // the newest first
	reads            int
	err              error
}

func (u *unreadTable) Settled(bounds seqs.Range, limit int) (read, hidden []seqs.Range, err error) {
	u.reads++
	within := func(list []seqs.Range) (found []seqs.Range) {
		for _, r := range list {
			if r.From <= bounds.To && r.To >= bounds.From && len(found) < limit {
				found = append(found, r)
			}
		}
		return found
	}
	return within(u.read), within(u.hidden), u.err
}

func (u *unreadTable) CountGaps(gaps seqs.Set) (messages, mentions int, err error) {
	for _, g := range gaps {
		for seq := g.From; seq <= g.To; seq++ {
			if u.counts[seq] {
				messages++
			}
		}
	}
	mentions, err = u.CountMentions(gaps)
	return messages, mentions, err
}

func (u *unreadTable) CountMentions(gaps seqs.Set) (mentions int, err error) {
	for _, g := range gaps {
		for seq := g.From; seq <= g.To; seq++ {
			if u.mentions[seq] {
				mentions++
			}
		}
	}
	return mentions, nil
}

// TestCountUnreadModel compares counts with a scan of all messages, with few ranges and
// with more than one read returns.
func TestCountUnreadModel(t *testing.T) {
	random := rand.New(rand.NewPCG(71, 72))
	for round := range 60 {
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
		got, err := record.CountUnread(u, ranges)
		if err != nil || got != want.Capped() {
			t.Errorf("round %d, %d messages: %+v, %v, want %+v", round, n, got, err, want.Capped())
		}
	}
}

// TestCountUnreadInOrder checks that for a user who has read in order, one read of ranges suffices,
// however long the history is.
func TestCountUnreadInOrder(t *testing.T) {
	u := &unreadTable{counts: map[int64]bool{999_999: true, 1_000_000: true}, read: []seqs.Range{{From: 1, To: 999_998}}}
	got, err := record.CountUnread(u, seqs.Set{{From: 1, To: 1_000_000}})
	if err != nil || got != (im.UnreadCount{Messages: 2}) || u.reads != 1 {
		t.Errorf("%+v, %v, after %d reads", got, err, u.reads)
	}
}

func TestCountUnreadFails(t *testing.T) {
	u := &unreadTable{err: errors.New("no disk")}
	if _, err := record.CountUnread(u, seqs.Set{{From: 1, To: 5}}); !errors.Is(err, u.err) {
		t.Errorf("got %v, want %v", err, u.err)
	}
}
