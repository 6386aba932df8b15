package events

import (
	"math"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
)

// sight is which messages of a conversation a member sees: nearly always those
// from one seq on, so that this takes no memory of its own. The zero value sees
// all.
type sight struct {
	from    int64
	earlier seqs.Set  // of former stays
	joined  time.Time // of threads from before they learn nothing
}

// afterAll is later than whatever happens.
var afterAll = time.Unix(1<<40, 0)

// sightOf returns what somebody sees who was a member when an event happened.
// What is known of them may be newer than the event; by then they may have
// left, or come back, of which later events will tell. That does not matter
// here: the stay during which it happened holds the messages up to then, and a
// later one holds only later messages.
func sightOf(c *im.Conversation, m *im.AudienceMember) sight {
	if c.History == im.HistoryAll {
		return sight{}
	}
	s := sight{from: math.MaxInt64, joined: m.JoinedAt}
	if !m.Intervals.Active() {
		s.joined = afterAll // they have left since: when they had joined is not known any more
	}
	for _, i := range m.Intervals {
		if i.Open() {
			s.from = i.FromSeq
		} else if i.FromSeq <= i.ToSeq {
			s.earlier = append(s.earlier, im.SeqRange{From: i.FromSeq, To: i.ToSeq})
		}
	}
	return s
}

// sees reports whether the message with this seq can be seen.
func (s sight) sees(seq int64) bool {
	return seq >= s.from || s.earlier.Has(seq)
}
