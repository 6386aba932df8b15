package im

import "time"

// What a member may read of a conversation is decided here: what their
// membership lets them see, less what they have hidden, less what is past
// retention, less what is for somebody else.

// retention returns how long messages of the conversation are kept: as it says
// itself, but no longer than the policy allows, else as the policy says; 0 is
// for ever.
func (p Policy) retention(c Conversation) time.Duration {
	keep := p.Retention
	if c.Retention != nil {
		keep = *c.Retention
	}
	if p.RetentionMax > 0 && (keep == 0 || keep > p.RetentionMax) {
		keep = p.RetentionMax
	}
	return keep
}

// cutoff returns the time before which messages of the conversation are past
// retention, zero if none ever is.
func (p Policy) cutoff(c Conversation, now time.Time) time.Time {
	keep := p.retention(c)
	if keep == 0 {
		return time.Time{}
	}
	return now.Add(-keep)
}

// cutoff returns the time before which messages of the conversation are past
// retention, now or since it was shorter: what was once, does not come back.
func (s *Service) cutoff(c Conversation) time.Time {
	cutoff := s.policy.cutoff(c, s.time())
	if c.TrimBefore.After(cutoff) {
		return c.TrimBefore
	}
	return cutoff
}

// since returns the time before which a member sees nothing, zero without one.
func (s *Service) since(c Conversation, me Membership) time.Time {
	since := s.cutoff(c)
	if me.Mark.HiddenBefore.After(since) {
		since = me.Mark.HiddenBefore
	}
	return since
}

// floor returns the first seq that a member may see. What lies above it may yet
// be hidden by its id, or, if it was stored later than it was created, be from
// before [Service.since].
func (s *Service) floor(r Reader, c Conversation, me Membership) (int64, error) {
	floor := max(c.FirstSeq, me.Mark.HiddenSeq+1)
	since := s.since(c, me)
	if since.IsZero() || c.OldestAt.IsZero() || !c.OldestAt.Before(since) {
		return floor, nil
	}
	seq, err := r.SeqSince(c.ID, since)
	return max(floor, seq), err
}

// sight returns the part of a query for history that says what a member may
// read.
func (s *Service) sight(r Reader, c Conversation, me Membership) (HistoryQuery, error) {
	floor, err := s.floor(r, c, me)
	return HistoryQuery{
		Conversation: c.ID, Ranges: me.Visible(c).Between(floor-1, 0), Since: s.since(c, me), Reader: me.User,
	}, err
}

// sees reports whether a member may read a message.
func (s *Service) sees(r Reader, c Conversation, me Membership, m Message) (bool, error) {
	if !me.Sees(c, m.Seq) {
		return false, nil
	}
	return s.shows(r, c, me, m)
}

// shows reports whether nothing but their membership decides if somebody may
// read a message.
func (s *Service) shows(r Reader, c Conversation, me Membership, m Message) (bool, error) {
	if !s.within(c, me, m) {
		return false, nil
	}
	hidden, err := r.Hidden(c.ID, me.User, m.Seq)
	return !hidden, err
}

// within is shows but for what they have hidden by its id.
func (s *Service) within(c Conversation, me Membership, m Message) bool {
	return m.Seq > me.Mark.HiddenSeq && !m.CreatedAt.Before(s.since(c, me)) && (m.VisibleTo == "" || m.VisibleTo == me.User)
}

// past reports whether a message is past retention.
func (s *Service) past(c Conversation, m Message) bool {
	return m.CreatedAt.Before(s.cutoff(c))
}

// asOf returns the message as it is to be read now: [Message.AsOf], or, past
// retention, a tombstone too.
func (s *Service) asOf(c Conversation, m Message) Message {
	now := s.time()
	if m.State == Active && s.past(c, m) {
		return m.Tombstone(Erasure{State: Expired, At: s.cutoff(c)})
	}
	return m.AsOf(now)
}
