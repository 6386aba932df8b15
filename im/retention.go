package im

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// plans are the named retentions.
var plans = map[string]time.Duration{
	"none": 0, "free": 3 * day, "basic": 7 * day, "advanced": 90 * day, "enterprise": 180 * day,
}

const day = 24 * time.Hour

// ParseRetention parses a retention: the name of a plan (free is 3 days, basic 7, advanced
// 90, enterprise 180, none means forever), a number of days such as 30 or 30d, or a duration such
// as 36h. It returns false for any other text, and for a time of 0 or less or over [MaxRetention].
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

// RetentionRule says what [ParseRetention] accepts.
const RetentionRule = "must be free, basic, advanced, enterprise, none, a number of days, or a duration such as 36h"

// FormatRetention returns a text that [ParseRetention] parses.
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

// Trimmed is the result of one step of trimming a conversation.
type Trimmed struct {
	// Messages is the number of messages that were deleted, and Active the number of those that
	// were active and visible to every member.
	Messages int
	Active   int
	// FirstSeq is the lowest seq that is left.
	FirstSeq int64
	// Done is set when nothing is left to trim.
	Done bool
}

// RetentionOf is what retention trims, or would trim, of a conversation.
type RetentionOf struct {
	Conversation ID
	// Messages is the number of messages, tombstones included, that were created before Before.
	Messages int64
	Before   time.Time
}

// OldestKey is the position of a conversation among those with one setting of retention: by
// the time of its oldest message, then by id.
type OldestKey struct {
	OldestAt time.Time
	ID       ID
}

// RetentionKey is the position of a conversation among those that retention would trim.
type RetentionKey struct {
	// Setting is the index of the setting in the result of [RetentionReader.Retentions].
	Setting int
	OldestKey
}

// RetentionPage is a page of what retention would trim.
type RetentionPage struct {
	// AsOf is when it was computed.
	AsOf  time.Time
	Items []RetentionOf
	Next  *RetentionKey
}

// checkAsOf returns asOf, rounded up to a millisecond, or now if it is zero. It refuses a time in
// the future, which would trim messages that are not past retention.
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

// overdue calls fn for each conversation with messages past retention at asOf by a policy, until fn
// returns false. It begins after past.
func (p Policy) overdue(r RetentionReader, asOf time.Time, past *RetentionKey, fn func(RetentionKey, Conversation, time.Time) (bool, error)) error {
	settings, err := r.Retentions()
	if err != nil {
		return err
	}
	if past == nil {
		// Find conversations with messages that were past a shorter retention, although it is
		// longer now.
		list, err := r.Trimming(conversationsAtOnce)
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.OldestAt.Before(p.cutoffOf(c.Retention, asOf)) {
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
		before := p.cutoffOf(setting, asOf)
		if before.IsZero() {
			continue
		}
		for {
			list, err := r.Oldest(setting, before, after, conversationsAtOnce)
			if err != nil {
				return err
			}
			for _, c := range list {
				key := RetentionKey{Setting: i, OldestKey: OldestKey{OldestAt: c.OldestAt, ID: c.ID}}
				if more, err := fn(key, c, p.cutoff(c, asOf)); err != nil || !more {
					return err
				}
				after = &key.OldestKey
			}
			if len(list) < conversationsAtOnce {
				break
			}
		}
	}
	return nil
}

// Overdue returns what retention would trim as of a time, now if that is zero: exactly what
// [Service.Trim] trims as of the same time. With keep, it returns what would be trimmed if
// [Policy.Retention] were that. It refuses an actor who is not an admin, and a time in the future.
func (s *Service) Overdue(ctx context.Context, actor Actor, asOf time.Time, keep *time.Duration, past *RetentionKey, limit int) (RetentionPage, error) {
	if !actor.Admin {
		return RetentionPage{}, errNotAdmin()
	}
	asOf, err := s.checkAsOf(asOf)
	if err != nil {
		return RetentionPage{}, err
	}
	policy := s.policy
	if keep != nil {
		policy.Retention = *keep
	}
	return view(ctx, s, func(r Reader) (page RetentionPage, err error) {
		page.AsOf = asOf
		counted := int64(0)
		err = policy.overdue(r, asOf, past, func(key RetentionKey, c Conversation, before time.Time) (bool, error) {
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

// enoughCounted is the number of messages after which one read stops counting.
const enoughCounted = 1_000_000

// Trim deletes the messages that were past retention at a time, now if that is zero. It
// works in steps with pauses, see [PauseAfter]. When a conversation is done it appends an
// event for its members and calls trimmed, which may be nil. If a crash or the end of ctx
// interrupts it, the next call finishes the rest. It does nothing while the clock is not
// trusted. It returns an error of trimmed unchanged, and refuses a time in the future.
func (s *Service) Trim(ctx context.Context, asOf time.Time, trimmed func(RetentionOf) error) error {
	asOf, err := s.checkAsOf(asOf)
	if err != nil {
		return err
	}
	ctx = asJob(ctx, "trim")
	if s.holds() {
		return nil
	}
	if err := s.finishTrimming(ctx, trimmed); err != nil {
		return err
	}
	for {
		list, err := view(ctx, s, func(r Reader) (list []RetentionOf, err error) {
			err = s.policy.overdue(r, asOf, nil, func(_ RetentionKey, c Conversation, before time.Time) (bool, error) {
				list = append(list, RetentionOf{Conversation: c.ID, Before: before})
				return len(list) < conversationsAtOnce, nil
			})
			return list, err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		n, err := s.trimAll(ctx, list, trimmed)
		if err != nil || n == 0 { // another call has trimmed these conversations already
			return err
		}
	}
}

// finishTrimming finishes the trimmings that were interrupted.
func (s *Service) finishTrimming(ctx context.Context, trimmed func(RetentionOf) error) error {
	for {
		list, err := view(ctx, s, func(r Reader) (list []RetentionOf, err error) {
			trimming, err := r.Trimming(conversationsAtOnce)
			for _, c := range trimming {
				list = append(list, RetentionOf{Conversation: c.ID, Before: c.TrimBefore})
			}
			return list, err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		if _, err := s.trimAll(ctx, list, trimmed); err != nil {
			return err
		}
	}
}

// trimTurn is the minimum number of messages of a conversation in one turn, because each turn has a
// fixed cost.
const trimTurn = 4

// trimAll trims conversations and returns the number of messages that it deleted. It takes a few
// messages of each in turn: the store keeps messages in the order of their ids, whatever their
// conversation, so a transaction that takes turns writes fewer pages than one that takes as many of
// a single conversation.
func (s *Service) trimAll(ctx context.Context, list []RetentionOf, trimmed func(RetentionOf) error) (deleted int64, err error) {
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
			return deleted, err
		}
		var again []RetentionOf
		for i, t := range turns {
			of := list[i]
			of.Before = t.before
			of.Messages += int64(t.Messages)
			deleted += int64(t.Messages)
			switch {
			case !t.Done:
				again = append(again, of)
			case trimmed != nil && of.Messages > 0:
				if err := trimmed(of); err != nil {
					return deleted, err
				}
			}
		}
		list = append(list[len(turns):], again...)
	}
	return deleted, nil
}

// trim deletes up to limit messages of a conversation, or as many of their events, receipts
// and hides. It returns the time before which they were created: that of a trimming in progress if
// it is later.
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

// TrimAs is [Service.Trim] for an actor. It refuses an actor who is not an admin, and every
// actor while the clock is not trusted.
func (s *Service) TrimAs(ctx context.Context, actor Actor, asOf time.Time, trimmed func(RetentionOf) error) error {
	if !actor.Admin {
		return errNotAdmin()
	}
	if s.holds() {
		return s.errClockJumped()
	}
	return s.Trim(ctx, asOf, trimmed)
}

// OldestMessage returns when the oldest message was created; false if there is none.
func (s *Service) OldestMessage(ctx context.Context) (at time.Time, found bool, err error) {
	err = s.read(ctx, func(r Reader) error {
		at, found, err = r.OldestMessage()
		return err
	})
	return at, found, err
}
