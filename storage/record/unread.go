package record

import (
	"slices"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/seqs"
)

// UnreadRows are the rows of one user that unread counts come from. An engine reads them, for
// many conversations at once; [CountUnread] decides what is counted. Results are in the order
// of the arguments, one for each. All methods return the engine's errors.
type UnreadRows interface {
	// Settled returns the ranges of messages within bounds that the user has read or hidden by
	// their ids: up to limit of either kind, the newest first. A range that reaches over a
	// bound may be returned whole.
	Settled(bounds []Bounds, limit int) ([]Settled, error)
	// CountGaps counts the messages in gaps that count as unread unless they were read: sent
	// by others, not quiet, not erased and not due. Mentions are those of them that mention
	// the user; CountGaps may stop counting mentions at [im.MaxUnread] in each range of a Set.
	CountGaps(gaps []Gaps) ([]im.UnreadCount, error)
	// CountMentions counts only the mentions.
	CountMentions(gaps []Gaps) ([]im.UnreadCount, error)
}

// Bounds are a range of the messages of a conversation.
type Bounds struct {
	Conversation im.ID
	seqs.Range
}

// Settled are the ranges that a user has read, and those they have hidden.
type Settled struct{ Read, Hidden []seqs.Range }

// Gaps are the messages of a conversation that a user has neither read nor hidden.
type Gaps struct {
	Conversation im.ID
	Set          seqs.Set
}

const (
	// firstSettled is the number of ranges that are read first. A user who reads in order has a
	// few. Each further read is growth times as large, up to mostSettled, which is also the most of
	// either kind, read or hidden, that one read returns for all queries together.
	firstSettled = 64
	mostSettled  = 8192
	// firstStretch is the number of messages that are counted first. Counting examines each of
	// them, to find the user's own. If much is unread and few of the newest messages are their own
	// or erased, counting ends there. Each further stretch is growth times as long.
	firstStretch = im.MaxUnread + 64
	growth       = 8
)

// CountUnread counts the messages that a user has not read, for each query, from the newest to
// the oldest, up to [im.MaxUnread]. Any errors are from the rows.
//
// The cost depends on the number of gaps in what was read, which are few for a user who
// reads in order, and on the number of erased messages in them: not on the number of
// unread messages, nor on the length of the history. Most queries are answered by the first
// two reads of rows, which up to 128 queries share.
func CountUnread(rows UnreadRows, queries []im.UnreadQuery) ([]im.UnreadCount, error) {
	all := make([]*unreadCounter, len(queries))
	for i, q := range queries {
		all[i] = &unreadCounter{conversation: q.Conversation, ranges: slices.Clone(q.Ranges), stretch: firstStretch}
	}
	counting := slices.Clone(all)
	for limit := firstSettled; ; limit = min(limit*growth, mostSettled) {
		counting = slices.DeleteFunc(counting, (*unreadCounter).done)
		if len(counting) == 0 {
			break
		}
		for some := range slices.Chunk(counting, max(mostSettled/limit, 1)) {
			if err := settle(rows, some, limit); err != nil {
				return nil, err
			}
			if err := countGaps(rows, some); err != nil {
				return nil, err
			}
		}
	}
	counts := make([]im.UnreadCount, len(all))
	for i, c := range all {
		counts[i] = c.count.Capped()
	}
	return counts, nil
}

// unreadCounter is a count in progress.
type unreadCounter struct {
	conversation im.ID
	ranges       seqs.Set // not counted yet, without the gaps
	gaps         seqs.Set // to be counted next
	stretch      int64    // the number of messages of the gaps to count next
	count        im.UnreadCount
}

// done drops empty ranges, and reports whether the count is complete.
func (c *unreadCounter) done() bool {
	for n := len(c.ranges); n > 0 && c.ranges[n-1].Empty(); n-- {
		c.ranges = c.ranges[:n-1]
	}
	return len(c.ranges) == 0 || c.count.Full()
}

// settle moves the newest messages of each counter's ranges to its gaps, as far back as it is known
// what the user has read and hidden.
func settle(rows UnreadRows, counters []*unreadCounter, limit int) error {
	bounds := make([]Bounds, len(counters))
	for i, c := range counters {
		bounds[i] = Bounds{Conversation: c.conversation, Range: c.ranges[len(c.ranges)-1]}
	}
	settled, err := rows.Settled(bounds, limit)
	if err != nil {
		return err
	}
	for i, c := range counters {
		known := bounds[i].From
		for _, list := range [][]seqs.Range{settled[i].Read, settled[i].Hidden} {
			if len(list) == limit {
				known = max(known, list[limit-1].From) // more may follow below
			}
		}
		c.gaps = seqs.Set{{From: known, To: bounds[i].To}}.Without(seqs.Union(append(settled[i].Read, settled[i].Hidden...)...))
		c.ranges[len(c.ranges)-1].To = known - 1
	}
	return nil
}

// countGaps counts the messages in the gaps of the counters, the newest stretch of each first.
// Once a count exceeds [im.MaxUnread], it counts only mentions.
func countGaps(rows UnreadRows, counters []*unreadCounter) error {
	for {
		var open []*unreadCounter
		var stretches []Gaps
		for _, c := range counters {
			if len(c.gaps) == 0 || c.count.Messages > im.MaxUnread {
				continue
			}
			var newest seqs.Set
			if c.gaps, newest = c.gaps.Split(c.stretch); len(c.gaps) > 0 {
				c.stretch *= growth
			}
			open, stretches = append(open, c), append(stretches, Gaps{Conversation: c.conversation, Set: newest})
		}
		if len(open) == 0 {
			break
		}
		counts, err := rows.CountGaps(stretches)
		if err != nil {
			return err
		}
		for i, c := range open {
			c.count.Messages += counts[i].Messages
			c.count.Mentions += counts[i].Mentions
		}
	}
	var left []*unreadCounter
	var gaps []Gaps
	for _, c := range counters {
		if len(c.gaps) > 0 && !c.count.Full() {
			left, gaps = append(left, c), append(gaps, Gaps{Conversation: c.conversation, Set: c.gaps})
		}
		c.gaps = nil
	}
	if len(left) == 0 {
		return nil
	}
	counts, err := rows.CountMentions(gaps)
	if err != nil {
		return err
	}
	for i, c := range left {
		c.count.Mentions += counts[i].Mentions
	}
	return nil
}
