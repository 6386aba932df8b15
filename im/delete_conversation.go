package im

import "context"

// DeleteConversation deletes a conversation for everyone, with all of its
// messages and threads: nobody can read it from then on, and [Service.Purge]
// destroys what it held. For the owner of a group or room, either side of a direct
// conversation, who may manage a channel or the threads of a place, and admins.
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
			err = Allow(c, me, PermissionDelete)
		}
		if err != nil {
			return err
		}
		return s.delete(tx, actor, c)
	})
}

// delete deletes a place with what hangs in it and tells of it.
func (s *Service) delete(tx Tx, actor Actor, c Conversation) error {
	below, err := tx.Below(c.ID)
	if err != nil {
		return err
	}
	now := s.time()
	told := c.event(deleted, actor, now)
	told.Gone = append(below, c.ID)
	at, err := tx.Append(told)
	if err != nil {
		return err
	}
	stamp, err := tx.Stamp(now)
	if err != nil {
		return err
	}
	return tx.DeleteConversation(c.ID, stamp, at)
}

// Purge destroys what deleted conversations held, in batches that let senders in
// between; what a crash leaves over is done by the next call.
func (s *Service) Purge(ctx context.Context) error {
	ctx = asJob(ctx, "purge")
	for {
		list, err := view(ctx, s, func(r Reader) ([]Conversation, error) { return r.Unpurged(1) })
		if err != nil || len(list) == 0 {
			return err
		}
		p := newPacer(jobRows)
		for done := false; !done; {
			done, err = paced(ctx, s, p, func(tx Tx, limit int) (bool, error) { return tx.Purge(list[0].ID, limit, s.time()) })
			if err != nil {
				return err
			}
		}
	}
}
