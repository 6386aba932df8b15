package im

import (
	"context"
	"time"
)

// MaxMute is the longest for which somebody is muted of whom it is said for how
// long.
const MaxMute = 365 * 24 * time.Hour

// MuteMember keeps a member of a group, a room or a channel from sending for some
// time, 0 for good, and returns until when. It outlives their leaving.
func (s *Service) MuteMember(ctx context.Context, actor Actor, ref ConversationRef, user UserID, long time.Duration) (time.Time, error) {
	until, err := s.mutedUntil(long)
	if err != nil {
		return until, err
	}
	return until, s.putMute(ctx, actor, user, until, s.muteIn(actor, ref, user))
}

// UnmuteMember lets them send again.
func (s *Service) UnmuteMember(ctx context.Context, actor Actor, ref ConversationRef, user UserID) error {
	return s.putMute(ctx, actor, user, time.Time{}, s.muteIn(actor, ref, user))
}

// MuteSpaceMember is MuteMember for all channels of a space.
func (s *Service) MuteSpaceMember(ctx context.Context, actor Actor, space ID, user UserID, long time.Duration) (time.Time, error) {
	until, err := s.mutedUntil(long)
	if err != nil {
		return until, err
	}
	return until, s.putMute(ctx, actor, user, until, s.muteInSpace(actor, space, user))
}

// UnmuteSpaceMember lets them send again, where they are not muted in a channel.
func (s *Service) UnmuteSpaceMember(ctx context.Context, actor Actor, space ID, user UserID) error {
	return s.putMute(ctx, actor, user, time.Time{}, s.muteInSpace(actor, space, user))
}

func (s *Service) mutedUntil(long time.Duration) (time.Time, error) {
	switch {
	case long < 0 || long > MaxMute:
		return time.Time{}, RefuseField(Invalid, "invalid_request", "seconds", "must be 1 to %d", int(MaxMute.Seconds()))
	case long == 0:
		return MutedForGood, nil
	default:
		return s.time().Add(long), nil
	}
}

// muting finds where a user is to be muted, and their standing there, if the actor
// may mute them. above is until when they are muted in all of a space.
type muting func(Reader) (c Conversation, target Membership, above time.Time, err error)

func (s *Service) muteIn(actor Actor, ref ConversationRef, user UserID) muting {
	return func(r Reader) (c Conversation, target Membership, above time.Time, err error) {
		c, me, err := s.enter(r, actor, ref)
		if err != nil {
			return c, target, above, err
		}
		switch c.Kind {
		case Thread:
			return c, target, above, hasOwnMembers(c)
		case Channel:
			m, err := s.belowMe(r, actor, c.Space, c.ID, me, user, PermissionMute)
			if err == nil {
				err = s.seesChannel(r, c, user)
			}
			above, m.MutedUntil = m.MutedUntil, m.MutedHere
			return c, m.Membership, above, err
		}
		target, found, err := maybe(r.Membership(c.ID, user))
		if err == nil && (!found || !target.Active()) {
			err = errUnknownMember() // whether they ever were one is nobody's business
		}
		if err == nil {
			err = Allow(c, me, PermissionMute)
		}
		if err == nil && target.Role >= me.Role {
			err = Refuse(Forbidden, "permission_denied", "you may only mute members whose role is below yours")
		}
		return c, target, above, err
	}
}

// seesChannel refuses who is no member of a channel: they must not learn of it.
func (s *Service) seesChannel(r Reader, c Conversation, user UserID) error {
	m, err := s.stand(r, c, user)
	if err == nil && !m.May.Has(PermissionView) {
		err = errUnknownMember()
	}
	return err
}

func (s *Service) muteInSpace(actor Actor, space ID, user UserID) muting {
	return func(r Reader) (c Conversation, target Membership, above time.Time, err error) {
		c, me, err := s.enterSpace(r, actor, space)
		if err != nil {
			return c, target, above, err
		}
		m, err := s.belowMe(r, actor, space, 0, me, user, PermissionMute)
		return c, m.Membership, above, err
	}
}

// putMute stores a mute and tells of it, unless it is there already.
func (s *Service) putMute(ctx context.Context, actor Actor, user UserID, until time.Time, find muting) error {
	return s.store.Write(ctx, func(tx Tx) error {
		c, target, above, err := find(tx)
		if err != nil {
			return err
		}
		if target.MutedUntil.Equal(until) {
			return nil
		}
		if err := tx.PutMute(c.ID, user, until); err != nil {
			return err
		}
		if target.MutedUntil = until; above.After(until) {
			target.MutedUntil = above // they may not send any sooner
		}
		_, err = tx.Append(memberEvent(MemberUpdated, actor, c, target, s.time()))
		return err
	})
}
