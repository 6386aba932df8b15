package events

import (
	"math"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
)

// visibleRange is the set of messages of a conversation that a member sees. Nearly always
// these are the messages from one seq on, which takes no memory of its own. The zero value
// includes all messages.
type visibleRange struct {
	from    int64     // messages from this seq on
	earlier seqs.Set  // and those of former stays
	joined  time.Time // the member gets no activity of threads from before this
}

// distantFuture is after every event.
var distantFuture = time.Unix(1<<40, 0)

// visibleRangeOf returns the messages visible to a user who was a member when an event happened. c
// and m may be newer than the event: the user may have left since, or rejoined. That makes no
// difference for a message of that event, because the stay during which it happened includes it,
// and a later stay begins after it.
func visibleRangeOf(c *im.Conversation, m *im.AudienceMember) visibleRange {
	if c.History == im.HistoryAll {
		return visibleRange{}
	}
	r := visibleRange{from: math.MaxInt64, joined: m.JoinedAt}
	if !m.Intervals.Active() {
		r.joined = distantFuture // the time of joining is no longer stored
	}
	for _, i := range m.Intervals {
		if i.Open() {
			r.from = i.FromSeq
		} else if i.FromSeq <= i.ToSeq {
			r.earlier = append(r.earlier, im.SeqRange{From: i.FromSeq, To: i.ToSeq})
		}
	}
	return r
}

// includes reports whether the member sees the message with this seq.
func (r visibleRange) includes(seq int64) bool {
	return seq >= r.from || r.earlier.Has(seq)
}
