package im

import (
	"context"
	"slices"
	"time"
)

// This file decides which users receive an event of a conversation: those who were members when the
// event happened. The members of a channel are the members of the space who could see the channel
// by the lists, roles and overrides at that time. A member of a thread in a channel must also have
// been able to see the channel.

// Audience holds the recipients of an event of a conversation, among some users.
type Audience struct {
	Conversation Conversation
	Members      []AudienceMember
}

// AudienceMember is a user who was a member of a conversation, and could see it, when an
// event happened. JoinedAt and Intervals are as of now: the user may have left since.
type AudienceMember struct {
	User      UserID
	JoinedAt  time.Time
	Intervals Stays
}

// MembersAt returns the users of a list who were members of a conversation, and could see it,
// when the event at a position happened. The list may contain duplicates. It returns
// ErrNotFound if there is no such conversation.
func (s *Service) MembersAt(ctx context.Context, conversation ID, at Position, users []UserID) (all Audience, err error) {
	if len(users) > usersAtATime {
		users = unique(users)
	}
	for begun := false; !begun || len(users) > 0; begun = true {
		part := users[:min(len(users), usersAtATime)]
		users = users[len(part):]
		a, err := view(ctx, s, func(r Reader) (Audience, error) { return s.membersAt(r, conversation, at, part) })
		if err != nil {
			return Audience{}, err
		}
		if !begun || len(a.Members) > 0 {
			all.Conversation = a.Conversation
		}
		all.Members = append(all.Members, a.Members...)
	}
	return all, nil
}

// usersAtATime limits the users of one read. When the roles of a space change, the hub
// asks again for all of its members who are online, and one read of all of them would
// hold a reader for too long.
const usersAtATime = 2000

func (s *Service) membersAt(r Reader, conversation ID, at Position, users []UserID) (a Audience, err error) {
	if a.Conversation, err = r.Conversation(conversation); err != nil {
		return a, err
	}
	c := a.Conversation
	if c.Kind == Channel {
		a.Members, err = s.audienceAt(r, c, c.ID, at, users)
		return a, err
	}
	members, err := r.MembersAt(conversation, at, users)
	for _, m := range members {
		a.Members = append(a.Members, AudienceMember{User: m.User, JoinedAt: m.JoinedAt, Intervals: m.Intervals})
	}
	if err != nil || c.Kind != Thread || len(a.Members) == 0 {
		return a, err
	}
	if c.Space == 0 {
		return a, extendToParent(r, &a, at)
	}
	// Members of a thread receive its events only while they can see the channel.
	joined := make([]UserID, len(a.Members))
	for i, m := range a.Members {
		joined[i] = m.User
	}
	see, err := s.audienceAt(r, c, c.Parent, at, joined)
	sees := make(map[UserID]bool, len(see))
	for _, m := range see {
		sees[m.User] = true
	}
	kept := a.Members[:0]
	for _, m := range a.Members {
		if sees[m.User] {
			kept = append(kept, m)
		}
	}
	a.Members = kept
	return a, err
}

// extendToParent extends the open stays of members of a thread back to when they joined the parent
// group, if the group shows its history from joining on: then they may read the thread from that
// time on.
func extendToParent(r Reader, a *Audience, at Position) error {
	parent, err := r.Conversation(a.Conversation.Parent)
	if err != nil || parent.History == HistoryAll {
		return err
	}
	users := make([]UserID, len(a.Members))
	for i, m := range a.Members {
		users[i] = m.User
	}
	inParent, err := r.MembersAt(parent.ID, at, users)
	if err != nil {
		return err
	}
	joined := make(map[UserID]time.Time, len(inParent))
	for _, m := range inParent {
		joined[m.User] = m.JoinedAt
	}
	a.Conversation.History = HistoryJoined
	for i, m := range a.Members {
		from, err := r.SeqSince(a.Conversation.ID, joined[m.User])
		if err != nil {
			return err
		}
		stays := slices.Clone(m.Intervals)
		last := &stays[len(stays)-1]
		if last.Open() {
			last.FromSeq = min(last.FromSeq, from)
		}
		a.Members[i].Intervals = stays
	}
	return nil
}

// audienceAt returns the users of a list who could see a channel when an event happened. The
// event is of the channel or of c, a thread in it.
func (s *Service) audienceAt(r Reader, c Conversation, channel ID, at Position, users []UserID) ([]AudienceMember, error) {
	found, err := r.SpaceMembersAt(c.Space, channel, at, users)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	couldSee, err := s.viewersAt(r, c, channel, at)
	if err != nil {
		return nil, err
	}
	members := make([]AudienceMember, 0, len(found))
	for _, m := range found {
		if couldSee(m) {
			members = append(members, AudienceMember{User: m.User, JoinedAt: m.JoinedAt, Intervals: m.Intervals.inChannel()})
		}
	}
	return members, nil
}

// viewersAt returns a function that reports whether a member of a space could see a channel before
// or after an event. Before counts because an event that hides a channel from a user must reach
// that user.
func (s *Service) viewersAt(r Reader, c Conversation, channel ID, at Position) (func(SpaceMember) bool, error) {
	var moments []Position
	var rulesOf []rules
	for _, moment := range []Position{at, at - 1} {
		by, found, err := maybe(rulesAt(r, c.Space, channel, moment))
		if err != nil {
			return nil, err
		}
		if found { // otherwise the channel did not exist yet
			moments, rulesOf = append(moments, moment), append(rulesOf, by)
		}
	}
	return func(m SpaceMember) bool {
		for i, moment := range moments {
			if s.mayInSpace(c, m, rulesOf[i], moment).Has(PermissionView) {
				return true
			}
		}
		return false
	}, nil
}

// couldSeeAt reports whether a user could see a channel, or the channel of a thread, when
// an event happened. Conversations of other kinds are not supported.
func (s *Service) couldSeeAt(r Reader, c Conversation, user UserID, at Position) (bool, error) {
	channel := c.ID
	if c.Kind == Thread {
		channel = c.Parent
	}
	see, err := s.audienceAt(r, c, channel, at, []UserID{user})
	return len(see) > 0, err
}
