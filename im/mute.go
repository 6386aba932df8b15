package im

import (
	"context"
	"time"
)

// MaxMute is the longest duration of a mute. A mute without a duration has no end.
const MaxMute = 365 * 24 * time.Hour

// MuteMember mutes a member of a group, room or channel for a duration; 0 means without end. It
// returns the end of the mute. The mute outlasts the membership.
func (s *Service) MuteMember(ctx context.Context, actor Actor, ref ConversationRef, user UserID, long time.Duration) (time.Time, error) {
	until, err := s.muteEnd(long)
	if err != nil {
		return until, err
	}
	return until, s.putMute(ctx, actor, user, until, s.muteIn(actor, ref, user))
}

// UnmuteMember ends the mute of a member of a group, room or channel.
func (s *Service) UnmuteMember(ctx context.Context, actor Actor, ref ConversationRef, user UserID) error {
	return s.putMute(ctx, actor, user, time.Time{}, s.muteIn(actor, ref, user))
}

// MuteSpaceMember is MuteMember for all channels of a space.
func (s *Service) MuteSpaceMember(ctx context.Context, actor Actor, space ID, user UserID, long time.Duration) (time.Time, error) {
	until, err := s.muteEnd(long)
	if err != nil {
		return until, err
	}
	return until, s.putMute(ctx, actor, user, until, s.muteInSpace(actor, space, user))
}

// UnmuteSpaceMember ends the mute that MuteSpaceMember has set. Mutes in single channels stay.
func (s *Service) UnmuteSpaceMember(ctx context.Context, actor Actor, space ID, user UserID) error {
	return s.putMute(ctx, actor, user, time.Time{}, s.muteInSpace(actor, space, user))
}

func (s *Service) muteEnd(long time.Duration) (time.Time, error) {
	switch {
	case long < 0 || long > MaxMute:
		return time.Time{}, RefuseField(Invalid, "invalid_request", "seconds", "must be 1 to %d", int(MaxMute.Seconds()))
	case long == 0:
		return MutedForGood, nil
	default:
		return s.time().Add(long), nil
	}
}

// muteTarget is a member whom the actor may mute.
type muteTarget struct {
	conversation Conversation
	member       MemberView
	// stored is the end of their mute in the conversation, which may have passed, and inSpace
	// the end of their mute in the whole space of a channel.
	stored, inSpace time.Time
}

// muting returns the member to mute. It refuses an actor who may not mute them.
type muting func(Reader) (muteTarget, error)

func (s *Service) muteIn(actor Actor, ref ConversationRef, user UserID) muting {
	return func(r Reader) (muteTarget, error) {
		c, me, err := s.enter(r, actor, ref)
		if err != nil {
			return muteTarget{}, err
		}
		switch c.Kind {
		case Thread:
			return muteTarget{}, hasOwnMembers(c)
		case Channel:
			m, err := s.belowMe(r, actor, c.Space, c.ID, me, user, PermissionMute)
			if err == nil {
				err = s.seesChannel(r, c, user)
			}
			return muteTarget{conversation: c, member: s.channelMemberView(m), stored: m.MutedHere, inSpace: m.MutedUntil}, err
		case Direct, Group, Room, Space:
		}
		target, found, err := maybe(r.Membership(c.ID, user))
		if err == nil && (!found || !target.Active()) {
			err = errUnknownMember() // also for a former member, so that nobody learns that they were one
		}
		if err == nil {
			err = allow(c, me, PermissionMute)
		}
		if err == nil && target.Role >= me.role {
			err = Refuse(Forbidden, "permission_denied", "you may only mute members whose role is below yours")
		}
		return muteTarget{conversation: c, member: s.memberView(target), stored: target.MutedUntil}, err
	}
}

// seesChannel refuses a target who cannot see the channel, because the event of the mute
// would reveal the channel to them.
func (s *Service) seesChannel(r Reader, c Conversation, user UserID) error {
	a, err := s.access(r, c, user)
	if err == nil && !a.Can(PermissionView) {
		err = errUnknownMember()
	}
	return err
}

func (s *Service) muteInSpace(actor Actor, space ID, user UserID) muting {
	return func(r Reader) (muteTarget, error) {
		c, me, err := s.enterSpace(r, actor, space)
		if err != nil {
			return muteTarget{}, err
		}
		m, err := s.belowMe(r, actor, space, 0, me, user, PermissionMute)
		return muteTarget{conversation: c, member: s.memberView(m.Membership), stored: m.MutedUntil}, err
	}
}

// putMute stores a mute and publishes it, unless it is the one that is stored.
func (s *Service) putMute(ctx context.Context, actor Actor, user UserID, until time.Time, find muting) error {
	return s.store.Write(ctx, func(tx Tx) error {
		target, err := find(tx)
		if err != nil || target.stored.Equal(until) {
			return err
		}
		c := target.conversation
		if err := tx.PutMute(c.ID, user, until); err != nil {
			return err
		}
		target.member.MutedUntil = s.mutedUntil(until, target.inSpace)
		_, err = tx.Append(memberEvent(MemberUpdated, actor, c, target.member, s.time()))
		return err
	})
}
