package im

import (
	"slices"
	"time"

	"github.com/imapi/imapi/seqs"
)

// This file decides which messages of a conversation a user may read: those that their
// access lets them see, without those that they have hidden, that are past retention or
// that only another user can see.

// Visible returns which messages of a conversation the user may read now, as far as that depends on
// their membership: all, or those of their stays, as the conversation's History says. In a thread
// whose parent shows history only from joining on, they are those of the user's stays and those
// since the user joined the parent. The result is empty for a user who is not a member and may not
// preview.
func (a Access) Visible(c Conversation) seqs.Set {
	if !a.IsMember() && !a.canPreview {
		return nil
	}
	if a.readsFrom > 0 {
		also := Interval{FromSeq: a.readsFrom}
		return append(slices.Clip(a.stays), also).Messages(c.LastSeq)
	}
	if c.History == HistoryAll {
		return seqs.Set{{From: 1, To: c.LastSeq}}
	}
	return a.stays.Messages(c.LastSeq)
}

// Sees reports whether [Access.Visible] contains the message with this seq.
func (a Access) Sees(c Conversation, seq int64) bool {
	if !a.IsMember() && !a.canPreview || seq < 1 || seq > c.LastSeq {
		return false
	}
	return a.Receives(c, seq)
}

// Receives reports whether the user, who may be a former member, receives the events of
// a message: they could read it while they were a member.
func (a Access) Receives(c Conversation, seq int64) bool {
	if a.readsFrom == 0 && c.History == HistoryAll || a.readsFrom > 0 && seq >= a.readsFrom {
		return true
	}
	return a.stays.has(seq)
}

// since returns the time before which a member sees no messages, the later of the cutoff
// and what they have hidden; zero if there is none.
func (s *Service) since(c Conversation, me Access) time.Time {
	since := s.cutoff(c)
	if me.mark.HiddenBefore.After(since) {
		since = me.mark.HiddenBefore
	}
	return since
}

// floor returns the first seq that a member may see. Messages above it may still be
// hidden by their ids or, if they were imported, created before [Service.since].
func (s *Service) floor(r MessageReader, c Conversation, me Access) (int64, error) {
	floor := max(c.FirstSeq, me.mark.HiddenSeq+1)
	since := s.since(c, me)
	if since.IsZero() || c.OldestAt.IsZero() || !c.OldestAt.Before(since) {
		return floor, nil
	}
	seq, err := r.SeqSince(c.ID, since)
	return max(floor, seq), err
}

// visible returns a query for the messages that a member may read. The caller adds the
// order and the limit.
func (s *Service) visible(r Reader, c Conversation, me Access) (HistoryQuery, error) {
	floor, err := s.floor(r, c, me)
	return HistoryQuery{
		Conversation: c.ID, Ranges: me.Visible(c).Between(floor-1, 0), Since: s.since(c, me), Reader: me.user,
	}, err
}

// sees reports whether a member may read a message.
func (s *Service) sees(r Reader, c Conversation, me Access, m Message) (bool, error) {
	if !me.Sees(c, m.Seq) {
		return false, nil
	}
	return s.shows(r, c, me, m)
}

// shows reports whether a message is not kept from a user by hiding, retention or VisibleTo. It
// does not look at their stays.
func (s *Service) shows(r HideReader, c Conversation, me Access, m Message) (bool, error) {
	if !s.within(c, me, m) {
		return false, nil
	}
	hidden, err := r.Hidden(c.ID, me.user, m.Seq)
	return !hidden, err
}

// within is shows, except that it reads nothing from the store, and so reports true also for
// a message that the user has hidden by its id.
func (s *Service) within(c Conversation, me Access, m Message) bool {
	return m.Seq > me.mark.HiddenSeq && !m.CreatedAt.Before(s.since(c, me)) && (m.VisibleTo == "" || m.VisibleTo == me.user)
}

// past reports whether a message is past retention.
func (s *Service) past(c Conversation, m Message) bool {
	return m.CreatedAt.Before(s.cutoff(c))
}

// asOf returns the message as of now. It is a tombstone if it is due, as in
// [Message.AsOf], or past retention.
func (s *Service) asOf(c Conversation, m Message) Message {
	now := s.time()
	if m.State == Active && s.past(c, m) {
		return m.Tombstone(Erasure{State: Expired, At: s.cutoff(c)})
	}
	return m.AsOf(now)
}
