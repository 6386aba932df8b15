package im

import "context"

// DeleteConversation deletes a conversation for everyone, with its messages and threads.
// Nobody can read it afterwards, and [Service.Purge] deletes the rest. It refuses a conversation
// that the actor cannot see, unless they are an admin and name it by its id, and an actor who is
// not an admin and lacks [PermissionDelete] in the conversation. The owner of a group or room, both
// users of a direct conversation, and those who manage a channel or thread have that permission.
func (s *Service) DeleteConversation(ctx context.Context, actor Actor, ref ConversationRef) error {
	return s.store.Write(WithBulk(ctx), func(tx Tx) error {
		c, me, err := s.enter(tx, actor, ref)
		if e, ok := AsError(err); ok && e.Kind == NotFound && actor.Admin && ref.Peer == "" {
			c, err = lookup(tx, actor, ref)
			if err == nil && (!c.DeletedAt.IsZero() || c.Kind == Space) {
				err = errUnknownConversation()
			}
		}
		if err == nil && !actor.Admin {
			err = allow(c, me, PermissionDelete)
		}
		if err != nil {
			return err
		}
		return s.delete(tx, actor, c)
	})
}

// delete deletes a conversation or space with its children and publishes that.
func (s *Service) delete(tx Tx, actor Actor, c Conversation) error {
	children, err := tx.Descendants(c.ID)
	if err != nil {
		return err
	}
	now := s.time()
	published := c.event(deleted, actor, now)
	published.Gone = append(children, c.ID)
	at, err := tx.Append(published)
	if err != nil {
		return err
	}
	stamp, err := tx.Stamp(now)
	if err != nil {
		return err
	}
	return tx.DeleteConversation(c.ID, stamp, at)
}

// Purge ends the invitations to deleted conversations and spaces, which may be too many for one
// transaction, deletes the messages and other rows of those conversations, and shreds their keys.
// It works in steps with pauses, see [PauseAfter]. If it is interrupted, the next call
// finishes the rest. Any error is from the store, or the context's cause.
func (s *Service) Purge(ctx context.Context) error {
	ctx = asJob(ctx, "purge")
	for {
		list, err := view(ctx, s, func(r Reader) ([]Conversation, error) { return r.Unpurged(1) })
		if err != nil || len(list) == 0 {
			return err
		}
		p := newPacer(jobRows)
		for done := false; !done; {
			done, err = paced(ctx, s, p, func(tx Tx, limit int) (bool, error) {
				if ended, err := s.endInvitations(tx, list[0], limit); err != nil || ended {
					return false, err
				}
				return tx.Purge(list[0].ID, limit, s.time())
			})
			if err != nil {
				return err
			}
		}
	}
}
