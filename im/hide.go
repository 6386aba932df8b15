package im

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// HideDraft says which messages of a conversation to hide: those named, those created before a
// time, or all present ones.
type HideDraft struct {
	MessageIDs []string
	Before     time.Time
	All        bool
}

// MaxHiddenIDs is the maximum number of messages that one call may hide by their ids.
const MaxHiddenIDs = 200

// HiddenPart is a set of messages that a user hid at a time: those of the range, or those created
// before a time if the range is empty.
type HiddenPart struct {
	Conversation ID
	At           time.Time
	Range        SeqRange
	Before       time.Time
}

// GoneConversation is a conversation that was deleted, or that a user has hidden.
type GoneConversation struct {
	Conversation ID
	At           time.Time
	Deleted      bool
	// Space is the space of a deleted channel, and By the position of the event that
	// deleted it.
	Space ID
	By    Position
}

// Hide hides messages from the actor, on all their devices and forever, and publishes that to their
// other devices. It publishes nothing if all messages named were hidden by their ids already, or if
// an earlier call hid everything before the same or a later time, or up to the newest message. It
// refuses a conversation or message that the actor cannot see, and too many ids.
func (s *Service) Hide(ctx context.Context, actor Actor, ref ConversationRef, d HideDraft) error {
	if len(d.MessageIDs) > MaxHiddenIDs {
		return RefuseField(Invalid, "invalid_request", "message_ids", "at most %d messages", MaxHiddenIDs)
	}
	_, err := write(ctx, s, func(tx Tx) (struct{}, error) {
		c, me, err := s.enter(tx, actor, ref)
		if err != nil {
			return struct{}{}, err
		}
		if d.MessageIDs != nil {
			return struct{}{}, s.hideIDs(tx, actor, c, me, d.MessageIDs)
		}
		return struct{}{}, s.hideUpTo(tx, actor, c, me, d)
	})
	return err
}

// hideIDs hides the messages named. It refuses one that the user neither can see nor has
// hidden.
func (s *Service) hideIDs(tx Tx, actor Actor, c Conversation, me Access, names []string) error {
	var ids []ID
	var list []int64
	all := me.withMark(Mark{}) // hiding a hidden message again is not an error
	for i, text := range names {
		m, err := s.namedAt(tx, c, all, fmt.Sprintf("message_ids/%d", i), text)
		if err != nil {
			return err
		}
		ids, list = append(ids, m.ID), append(list, m.Seq)
	}
	ranges := seqs.Of(list...)
	// Count only in the ranges; the whole count is needed only if hiding these changes it.
	unread, err := s.unreadIn(tx, c, me, ranges)
	if err != nil {
		return err
	}
	now := s.time()
	stamp, err := tx.Stamp(now)
	if err != nil {
		return err
	}
	fresh := false
	for _, r := range ranges {
		parts, err := tx.Hide(c.ID, actor.User, r, stamp)
		if err != nil {
			return err
		}
		fresh = fresh || len(parts) > 0
	}
	if !fresh {
		return nil
	}
	if err := touchMark(tx, c, me, now); err != nil {
		return err
	}
	_, err = tx.Append(Event{
		Type: MessageHidden, At: now, Conversation: c.ID, To: actor.User,
		Actor: actor.User, ActorDevice: actor.Device, MessageIDs: unique(ids),
	})
	if err != nil || unread.Messages == 0 {
		return err
	}
	after, err := s.unread(tx, c, me)
	if err != nil {
		return err
	}
	return publishUnread(tx, actor, c, after, Event{At: now})
}

// hideUpTo hides the messages created before a time, or all present ones.
func (s *Service) hideUpTo(tx Tx, actor Actor, c Conversation, me Access, d HideDraft) error {
	before, err := s.unread(tx, c, me)
	if err != nil {
		return err
	}
	now := s.time()
	event := Event{
		Type: MessageHidden, At: now, Conversation: c.ID, To: actor.User, Actor: actor.User, ActorDevice: actor.Device,
	}
	mark := me.mark
	if d.All {
		mark.HiddenSeq = c.LastSeq
		event.UpToSeq = c.LastSeq
	} else {
		// A time in the future must not hide messages that are sent until then.
		at := ceilMillis(d.Before)
		if at.After(now) {
			at = now
		}
		if at.After(mark.HiddenBefore) {
			mark.HiddenBefore = at
		}
		event.Before = mark.HiddenBefore
	}
	if mark == me.mark {
		return nil
	}
	if mark.HiddenAt, err = tx.Stamp(now); err != nil {
		return err
	}
	mark.ChangedAt = mark.HiddenAt
	if err := tx.PutMark(c.ID, actor.User, mark); err != nil {
		return err
	}
	if _, err := tx.Append(event); err != nil {
		return err
	}
	return s.publishIfChanged(tx, actor, c, me.withMark(mark), before, now)
}

// HideConversation hides a conversation from the actor's list until the next message, and its
// messages forever unless keepMessages is set. Its messages no longer count as unread. It publishes
// that to the actor's other devices. It refuses a conversation that the actor cannot see.
func (s *Service) HideConversation(ctx context.Context, actor Actor, ref ConversationRef, keepMessages bool) error {
	_, err := write(ctx, s, func(tx Tx) (struct{}, error) {
		c, me, err := s.enter(tx, actor, ref)
		if err != nil {
			return struct{}{}, err
		}
		mark, now := me.mark, s.time()
		mark.Gone, mark.GoneCounted, mark.ClearedSeq = true, c.Counted, c.LastSeq
		event := Event{
			Type: ConversationHidden, At: now, Conversation: c.ID, To: actor.User,
			Actor: actor.User, ActorDevice: actor.Device,
		}
		if !keepMessages {
			mark.HiddenSeq = c.LastSeq
			event.UpToSeq = c.LastSeq
		}
		if mark == me.mark {
			return struct{}{}, nil
		}
		if mark.ChangedAt, err = tx.Stamp(now); err != nil {
			return struct{}{}, err
		}
		if mark.HiddenSeq != me.mark.HiddenSeq {
			mark.HiddenAt = mark.ChangedAt
		}
		if err := tx.PutMark(c.ID, actor.User, mark); err != nil {
			return struct{}{}, err
		}
		_, err = tx.Append(event)
		return struct{}{}, err
	})
	return err
}

// Lost is what a user can no longer see, besides erased messages.
type Lost struct {
	Hidden []HiddenPart
	Gone   []GoneConversation
	// More is set if there is more of either.
	More bool
}

// maxLost bounds both lists: a client that has missed more loads everything again.
const maxLost = 1000

// Lost returns which messages the actor has hidden, and which conversations were deleted or
// hidden, since a time. It is for a client that has missed events. Any error is from the
// store.
func (s *Service) Lost(ctx context.Context, actor Actor, since time.Time) (Lost, error) {
	out, err := view(ctx, s, func(r Reader) (out Lost, err error) {
		if out.Hidden, err = r.HiddenSince(actor.User, since, maxLost+1); err != nil {
			return out, err
		}
		out.Gone, out.More, err = r.GoneSince(actor.User, since, maxLost+1)
		return out, err
	})
	if err != nil {
		return Lost{}, err
	}
	out.More = out.More || len(out.Hidden) > maxLost || len(out.Gone) > maxLost
	out.Hidden, out.Gone = out.Hidden[:min(len(out.Hidden), maxLost)], out.Gone[:min(len(out.Gone), maxLost)]
	out.Gone, err = s.couldSee(ctx, actor, out.Gone)
	return out, err
}

// couldSee returns the conversations of a list that the actor could see when they were
// deleted. For channels this must be computed. It no longer changes, so several short reads can be
// used.
func (s *Service) couldSee(ctx context.Context, actor Actor, list []GoneConversation) ([]GoneConversation, error) {
	var out []GoneConversation
	for part := range slices.Chunk(list, conversationsAtOnce) {
		err := s.read(ctx, func(r Reader) error {
			for _, g := range part {
				if g.Space != 0 {
					c := Conversation{ID: g.Conversation, Kind: Channel, Space: g.Space}
					if saw, err := s.couldSeeAt(r, c, actor.User, g.By); err != nil {
						return err
					} else if !saw {
						continue
					}
				}
				out = append(out, g)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// publishIfChanged publishes the unread count to the actor's other devices if it has changed.
func (s *Service) publishIfChanged(tx Tx, actor Actor, c Conversation, me Access, before UnreadCount, now time.Time) error {
	after, err := s.unread(tx, c, me)
	if err != nil || after == before {
		return err
	}
	return publishUnread(tx, actor, c, after, Event{At: now})
}

// namedAt returns the message of the conversation that a request names by a text. It refuses one
// that the user cannot see, but not one that they have hidden by its id.
func (s *Service) namedAt(r MessageReader, c Conversation, me Access, field, text string) (Message, error) {
	refusal := errNamed(field)
	id, ok := ParseID(text)
	if !ok {
		return Message{}, refusal
	}
	m, found, err := maybe(r.Message(id))
	if err == nil && (!found || m.Conversation != c.ID || !me.Sees(c, m.Seq) || !s.within(c, me, m)) {
		err = refusal
	}
	return m, err
}

// named is namedAt and also refuses a message that the user has hidden by its id.
func (s *Service) named(r Reader, c Conversation, me Access, field, text string) (Message, error) {
	m, err := s.namedAt(r, c, me, field, text)
	if err != nil {
		return m, err
	}
	hidden, err := r.Hidden(c.ID, me.user, m.Seq)
	if err == nil && hidden {
		err = errNamed(field)
	}
	return m, err
}

func errNamed(field string) error {
	return RefuseField(NotFound, "message_not_found", field, "no such message")
}

// ceilMillis rounds a time up to a millisecond. Stored times are truncated, so one that was before
// t is still before the result.
func ceilMillis(t time.Time) time.Time {
	ms := t.UTC().Truncate(time.Millisecond)
	if t.After(ms) {
		ms = ms.Add(time.Millisecond)
	}
	return ms
}
