package im

import "context"

// RemoveMember removes a user from a group, a room or a thread. Removing oneself is leaving;
// the owner may leave only as the last member.
func (s *Service) RemoveMember(ctx context.Context, actor Actor, ref ConversationRef, user UserID) error {
	return s.inSteps(ctx, func(tx Tx) (more bool, err error) {
		c, me, target, err := s.enterWithMember(tx, actor, ref, user)
		if err != nil {
			return false, err
		}
		switch {
		case c.Kind == Direct:
			err = allow(c, me, PermissionKick)
		case target.User != me.user:
			err = allowRemoval(c, me, target)
		case me.role == Owner && c.MemberCount > 1:
			err = errHandOver()
		}
		if err != nil {
			return false, err
		}
		return s.removeMember(tx, actor, c, target)
	})
}

// Leave removes the actor from a group, a room or a thread.
func (s *Service) Leave(ctx context.Context, actor Actor, ref ConversationRef) error {
	return s.RemoveMember(ctx, actor, ref, actor.User)
}

// removeMember ends a membership and publishes that, after it has ended the memberships of
// threads of the conversation. If one step cannot end all of those, more is true and the
// membership stays: the caller calls again in a new transaction.
func (s *Service) removeMember(tx Tx, actor Actor, c Conversation, target MemberView) (more bool, err error) {
	more, err = s.leaveThreads(tx, actor, c, target.User)
	if err != nil || more {
		return more, err
	}
	return false, s.endMembership(tx, actor, c, target)
}

// endMembership ends a membership and publishes that. It does not change memberships of threads.
func (s *Service) endMembership(tx Tx, actor Actor, c Conversation, target MemberView) error {
	at, err := tx.Append(memberEvent(MemberRemoved, actor, c, target, s.time()))
	if err != nil {
		return err
	}
	return tx.RemoveMember(c.ID, target.User, at, target.User == actor.User)
}
