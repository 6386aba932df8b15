package im

import (
	"context"
	"slices"
	"time"
)

// This file decides which users receive the events of a conversation: those whose stays
// reach over the event and, in a channel of a space, those who could see the channel by
// the lists, roles and overrides at the time of the event.

// Audience holds those of some users who receive an event of a conversation.
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

// MembersAt returns which of the users were members of a conversation when the
// event at this position happened, and could see it.
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

// usersAtATime is of how many users one read finds out whether they are told of an
// event, for it to be short: when the roles of a space change, all who are online are
// looked up anew.
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
		return a, sinceJoining(r, &a, at)
	}
	// Who has joined a thread is told while they see the channel.
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

// sinceJoining has members of a thread see what was said since they joined the group
// that it hangs in, if that shows its history from then on.
func sinceJoining(r Reader, a *Audience, at Position) error {
	parent, err := r.Conversation(a.Conversation.Parent)
	if err != nil || parent.History == HistoryAll {
		return err
	}
	users := make([]UserID, len(a.Members))
	for i, m := range a.Members {
		users[i] = m.User
	}
	above, err := r.MembersAt(parent.ID, at, users)
	if err != nil {
		return err
	}
	joined := make(map[UserID]time.Time, len(above))
	for _, m := range above {
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

// audienceAt returns which of the users could see a channel when an event
// happened, c or what a thread c hangs in.
func (s *Service) audienceAt(r Reader, c Conversation, channel ID, at Position, users []UserID) ([]AudienceMember, error) {
	found, err := r.SpaceMembersAt(c.Space, channel, at, users)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	sees, err := s.sightsAt(r, c, channel, at)
	if err != nil {
		return nil, err
	}
	members := make([]AudienceMember, 0, len(found))
	for _, m := range found {
		if sees(m) {
			members = append(members, AudienceMember{User: m.User, JoinedAt: m.JoinedAt, Intervals: m.Intervals.inChannel()})
		}
	}
	return members, nil
}

// sightsAt returns who could see a channel when an event happened: who could after
// it or, for an event that changes that is told to those whom it takes the channel
// from, before it.
func (s *Service) sightsAt(r Reader, c Conversation, channel ID, at Position) (func(SpaceMember) bool, error) {
	var moments []Position
	var rulesOf []rules
	for _, moment := range []Position{at, at - 1} {
		by, found, err := maybe(rulesAt(r, c.Space, channel, moment))
		if err != nil {
			return nil, err
		}
		if found { // else there was no such channel
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

// sawAt reports whether a user saw a channel, or the one that a thread hangs in,
// when an event happened. Of other conversations it is not the one to ask.
func (s *Service) sawAt(r Reader, c Conversation, user UserID, at Position) (bool, error) {
	channel := c.ID
	if c.Kind == Thread {
		channel = c.Parent
	}
	see, err := s.audienceAt(r, c, channel, at, []UserID{user})
	return len(see) > 0, err
}
