package record

import (
	"slices"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
)

// UnreadRows are the rows of one user in one conversation that unread counts come from.
// An engine reads them; [CountUnread] decides what is counted. All methods return the
// engine's errors.
type UnreadRows interface {
	// Settled returns the ranges of messages within bounds that the user has read, and
	// those that the user has hidden by their ids: up to limit of each, the newest first.
	// A range that reaches over a bound may be returned whole.
	Settled(bounds seqs.Range, limit int) (read, hidden []seqs.Range, err error)
	// CountGaps counts the messages in gaps that count as unread unless they were read:
	// sent by others, not quiet, not erased and not due. mentions are those of them that
	// mention the user; it may stop at [im.MaxUnread] in each gap.
	CountGaps(gaps seqs.Set) (messages, mentions int, err error)
	// CountMentions counts only the mentions.
	CountMentions(gaps seqs.Set) (mentions int, err error)
}

const (
	// firstSettled is the number of ranges that are read first. A user who reads in order has a
	// few. Each further read is growth times as large, up to mostSettled.
	firstSettled = 64
	mostSettled  = 8192
	// firstStretch is the number of messages that are counted first. The user's own and erased
	// messages among them cost extra; if much is unread, counting ends before it reaches many of
	// these. Each further stretch is growth times as long.
	firstStretch = 2 * im.MaxUnread
	growth       = 8
)

// CountUnread counts the messages in ranges that a user has not read, from the newest to
// the oldest, until there are more than are counted. Any errors are from the rows.
//
// The cost depends on the number of gaps in what was read, which are few for a user who
// reads in order, and on the number of erased messages in them: not on the number of
// unread messages, nor on the length of the history.
func CountUnread(rows UnreadRows, ranges seqs.Set) (im.UnreadCount, error) {
	c := &unreadCounter{rows: rows, ranges: firstSettled, stretch: firstStretch}
	for _, r := range slices.Backward(ranges) {
		for r.From <= r.To && !c.count.Full() {
			settled, known, err := c.settled(r)
			if err != nil {
				return im.UnreadCount{}, err
			}
			if err := c.add(seqs.Set{{From: known, To: r.To}}.Without(settled)); err != nil {
				return im.UnreadCount{}, err
			}
			r.To = known - 1
		}
	}
	return c.count.Capped(), nil
}

// unreadCounter is a count in progress.
type unreadCounter struct {
	rows    UnreadRows
	ranges  int   // to read next
	stretch int64 // to count over next
	count   im.UnreadCount
}

// settled returns the newest read and hidden messages of a range, and the seq from which
// on they are complete.
func (c *unreadCounter) settled(bounds seqs.Range) (set seqs.Set, known int64, err error) {
	known = bounds.From
	limit := c.ranges
	c.ranges = min(c.ranges*growth, mostSettled)
	read, hidden, err := c.rows.Settled(bounds, limit)
	if err != nil {
		return nil, 0, err
	}
	for _, list := range [][]seqs.Range{read, hidden} {
		if len(list) == limit {
			known = max(known, list[limit-1].From) // more may follow below
		}
	}
	return seqs.Union(append(read, hidden...)...), known, nil
}

// add counts what is unread in gaps, which are in ascending order.
func (c *unreadCounter) add(gaps seqs.Set) error {
	for len(gaps) > 0 && c.count.Messages <= im.MaxUnread {
		var newest seqs.Set
		gaps, newest = gaps.Split(c.stretch)
		if len(gaps) > 0 {
			c.stretch *= growth
		}
		messages, mentions, err := c.rows.CountGaps(newest)
		if err != nil {
			return err
		}
		c.count.Messages += messages
		c.count.Mentions += mentions
	}
	if len(gaps) == 0 || c.count.Full() {
		return nil
	}
	mentions, err := c.rows.CountMentions(gaps)
	c.count.Mentions += mentions
	return err
}
