package im

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// plans are the retentions that have a name.
var plans = map[string]time.Duration{
	"none": 0, "free": 3 * day, "basic": 7 * day, "advanced": 90 * day, "enterprise": 180 * day,
}

const day = 24 * time.Hour

// ParseRetention reads a retention: the name of a plan (free is 3 days, basic 7,
// advanced 90, enterprise 180, none keeps for ever), a number of days such as 30
// or 30d, or a duration such as 36h. It reports false for anything else.
func ParseRetention(text string) (time.Duration, bool) {
	if keep, ok := plans[text]; ok {
		return keep, true
	}
	if n, err := strconv.ParseUint(strings.TrimSuffix(text, "d"), 10, 16); err == nil {
		keep := time.Duration(n) * day
		return keep, keep > 0 && keep <= MaxRetention
	}
	keep, err := time.ParseDuration(text)
	return keep, err == nil && keep > 0 && keep <= MaxRetention
}

// FormatRetention writes what [ParseRetention] reads.
func FormatRetention(keep time.Duration) string {
	switch {
	case keep == 0:
		return "none"
	case keep%day == 0:
		return strconv.FormatInt(int64(keep/day), 10) + "d"
	default:
		return keep.String()
	}
}

// Trimmed is what one step of a trimming did.
type Trimmed struct {
	// Messages is how many it removed, and Active how many of those were not erased
	// and for all to see.
	Messages int
	Active   int
	// FirstSeq is the first seq that is left.
	FirstSeq int64
	// Done is set when nothing is left to remove.
	Done bool
}

// RetentionOf is what retention removes, or would remove, of a conversation.
type RetentionOf struct {
	Conversation ID
	// Messages is how many messages, tombstones too, were created before Before.
	Messages int64
	Before   time.Time
}

// OldestKey is the place of a conversation among those of one setting of
// retention: by its oldest message, then by id.
type OldestKey struct {
	OldestAt time.Time
	ID       ID
}

// RetentionKey is the place of a conversation in what retention would remove.
type RetentionKey struct {
	// Setting counts the settings of retention, in the order of the store.
	Setting int
	OldestKey
}

// RetentionPage is a stretch of what retention would remove.
type RetentionPage struct {
	// AsOf is the time that it was asked for.
	AsOf  time.Time
	Items []RetentionOf
	Next  *RetentionKey
}

// checkAsOf refuses a time of the future, for what is not past retention must
// not be removed; zero is now.
func (s *Service) checkAsOf(asOf time.Time) (time.Time, error) {
	now := s.time()
	if asOf.IsZero() {
		return now, nil
	}
	if asOf.After(now) {
		return asOf, RefuseField(Invalid, "invalid_request", "as_of", "must not be in the future")
	}
	return ceilMillis(asOf), nil
}

// overdue calls fn for conversations of which messages were past retention at a
// time, until it returns false. It begins after past.
func (s *Service) overdue(r Reader, asOf time.Time, past *RetentionKey, fn func(RetentionKey, Conversation, time.Time) (bool, error)) error {
	settings, err := r.Retentions()
	if err != nil {
		return err
	}
	if past == nil {
		// Those that were past retention before it was made longer.
		list, err := r.Trimming(atATime)
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.OldestAt.Before(s.policy.cutoffOf(c.Retention, asOf)) {
				continue // found by its setting
			}
			if more, err := fn(RetentionKey{}, c, c.TrimBefore); err != nil || !more {
				return err
			}
		}
	}
	for i, setting := range settings {
		var after *OldestKey
		if past != nil {
			if i < past.Setting {
				continue
			}
			if i == past.Setting {
				after = &past.OldestKey
			}
		}
		before := s.policy.cutoffOf(setting, asOf)
		if before.IsZero() {
			continue
		}
		for {
			list, err := r.Oldest(setting, before, after, atATime)
			if err != nil {
				return err
			}
			for _, c := range list {
				key := RetentionKey{Setting: i, OldestKey: OldestKey{OldestAt: c.OldestAt, ID: c.ID}}
				if more, err := fn(key, c, s.policy.cutoff(c, asOf)); err != nil || !more {
					return err
				}
				after = &key.OldestKey
			}
			if len(list) < atATime {
				break
			}
		}
	}
	return nil
}

// Overdue returns what retention would remove as of a time, now if that is
// zero: exactly what [Service.Trim] as of the same time removes. It is for
// admins.
func (s *Service) Overdue(ctx context.Context, actor Actor, asOf time.Time, past *RetentionKey, limit int) (RetentionPage, error) {
	if !actor.Admin {
		return RetentionPage{}, errNotAdmin()
	}
	asOf, err := s.checkAsOf(asOf)
	if err != nil {
		return RetentionPage{}, err
	}
	return view(ctx, s, func(r Reader) (page RetentionPage, err error) {
		page.AsOf = asOf
		counted := int64(0)
		err = s.overdue(r, asOf, past, func(key RetentionKey, c Conversation, before time.Time) (bool, error) {
			if len(page.Items) >= limit && key != (RetentionKey{}) || counted > enoughCounted {
				return false, nil
			}
			n, err := r.CountBefore(c.ID, before)
			page.Items = append(page.Items, RetentionOf{Conversation: c.ID, Messages: n, Before: before})
			counted += n
			page.Next = &key
			return true, err
		})
		if len(page.Items) < limit && counted <= enoughCounted {
			page.Next = nil
		}
		return page, err
	})
}

// enoughCounted is how many messages one read counts, for it to be short.
const enoughCounted = 1_000_000

// Trim removes what was past retention at a time, now if that is zero, in
// batches that let senders in between, and tells of each conversation once it is
// done, to its members and to told. What a crash or the context's end leaves
// over is done by the next call. It does nothing while the clock is not trusted.
func (s *Service) Trim(ctx context.Context, asOf time.Time, told func(RetentionOf) error) error {
	asOf, err := s.checkAsOf(asOf)
	if err != nil {
		return err
	}
	ctx = asJob(ctx, "trim")
	if s.holds() {
		return nil
	}
	if err := s.finishTrimming(ctx, told); err != nil {
		return err
	}
	for {
		list, err := view(ctx, s, func(r Reader) (list []RetentionOf, err error) {
			err = s.overdue(r, asOf, nil, func(_ RetentionKey, c Conversation, before time.Time) (bool, error) {
				list = append(list, RetentionOf{Conversation: c.ID, Before: before})
				return len(list) < atATime, nil
			})
			return list, err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		removed, err := s.trimAll(ctx, list, told)
		if err != nil || removed == 0 { // somebody else was first
			return err
		}
	}
}

// finishTrimming does what a trimming has left over that did not come to its
// end.
func (s *Service) finishTrimming(ctx context.Context, told func(RetentionOf) error) error {
	for {
		list, err := view(ctx, s, func(r Reader) (list []RetentionOf, err error) {
			trimming, err := r.Trimming(atATime)
			for _, c := range trimming {
				list = append(list, RetentionOf{Conversation: c.ID, Before: c.TrimBefore})
			}
			return list, err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		if _, err := s.trimAll(ctx, list, told); err != nil {
			return err
		}
	}
}

// trimTurn is how many messages of a conversation go in one turn at least: each turn has
// work of its own.
const trimTurn = 4

// trimAll removes the messages of conversations that were created before a time, and
// returns how many those were. It takes a few of each in turn: messages of one time stand
// side by side in the store, whatever conversation they are of, so a transaction that goes
// round writes fewer pages than one that takes as many of one conversation.
func (s *Service) trimAll(ctx context.Context, list []RetentionOf, told func(RetentionOf) error) (removed int64, err error) {
	for p := newPacer(trimRows); len(list) > 0; {
		type turn struct {
			Trimmed
			before time.Time
		}
		turns, err := paced(ctx, s, p, func(tx Tx, limit int) (turns []turn, err error) {
			each := min(max(limit/len(list), trimTurn), limit)
			for _, of := range list {
				if limit <= 0 {
					break
				}
				var t turn
				if t.Trimmed, t.before, err = s.trim(tx, of, min(each, limit)); err != nil {
					return nil, err
				}
				turns = append(turns, t)
				limit -= max(t.Messages, 1)
			}
			return turns, nil
		})
		if err != nil {
			return removed, err
		}
		var again []RetentionOf
		for i, t := range turns {
			of := list[i]
			of.Before = t.before
			of.Messages += int64(t.Messages)
			removed += int64(t.Messages)
			switch {
			case !t.Done:
				again = append(again, of)
			case told != nil && of.Messages > 0:
				if err := told(of); err != nil {
					return removed, err
				}
			}
		}
		list = append(list[len(turns):], again...)
	}
	return removed, nil
}

// trim removes up to limit messages of a conversation, or as much of what was kept of them.
// It returns the time before which they were created, which is later than was asked for if
// a trimming under way says so.
func (s *Service) trim(tx Tx, of RetentionOf, limit int) (Trimmed, time.Time, error) {
	id, before := of.Conversation, of.Before
	c, found, err := maybe(tx.Conversation(id))
	if err != nil || !found || !c.DeletedAt.IsZero() {
		return Trimmed{Done: true}, before, err
	}
	before = laterOf(before, c.TrimBefore)
	step, err := tx.Trim(id, before, limit, s.time())
	if err == nil && c.Kind == Thread {
		err = s.lessInThread(tx, Actor{}, id, step.Active)
	}
	if err != nil || !step.Done || step.Messages == 0 && c.TrimBefore.IsZero() {
		return step, before, err
	}
	_, err = tx.Append(Event{
		Type: ConversationTrimmed, At: s.time(), Conversation: id, Space: c.Space, Before: before, FirstSeq: step.FirstSeq,
	})
	return step, before, err
}

// TrimAs is [Service.Trim] for an actor, who has to be an admin.
func (s *Service) TrimAs(ctx context.Context, actor Actor, asOf time.Time, told func(RetentionOf) error) error {
	if !actor.Admin {
		return errNotAdmin()
	}
	if s.holds() {
		return s.errClockJumped()
	}
	return s.Trim(ctx, asOf, told)
}

// OldestMessage returns when the oldest message that is kept was created; false
// without any.
func (s *Service) OldestMessage(ctx context.Context) (at time.Time, found bool, err error) {
	err = s.read(ctx, func(r Reader) error {
		at, found, err = r.OldestMessage()
		return err
	})
	return at, found, err
}
