package im

import "context"

// DeleteConversation deletes a conversation for everyone, with all of its
// messages: nobody can read it from then on, and [Service.Purge] destroys what
// it held. For the owner of a group, either side of a direct conversation, and
// admins.
func (s *Service) DeleteConversation(ctx context.Context, actor Actor, ref ConversationRef) error {
	_, err := write(ctx, s, func(tx Tx) (struct{}, error) {
		c, me, err := enter(tx, actor, ref)
		if e, ok := AsError(err); ok && e.Kind == NotFound && actor.Admin && ref.Peer == "" {
			c, err = lookup(tx, actor, ref)
			if err == nil && !c.DeletedAt.IsZero() {
				err = errUnknownConversation()
			}
		}
		if err != nil {
			return struct{}{}, err
		}
		if c.Kind != Direct && !actor.Admin {
			if err := Allow(c, me, PermissionDelete); err != nil {
				return struct{}{}, err
			}
		}
		now := s.time()
		at, err := tx.Append(Event{
			Type: ConversationDeleted, At: now, Conversation: c.ID, Actor: actor.User, ActorDevice: actor.Device,
		})
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, tx.DeleteConversation(c.ID, now, at)
	})
	return err
}

// Purge destroys what deleted conversations held, in batches that let senders in
// between; what a crash leaves over is done by the next call.
func (s *Service) Purge(ctx context.Context) error {
	for {
		list, err := view(ctx, s, func(r Reader) ([]Conversation, error) { return r.Unpurged(1) })
		if err != nil || len(list) == 0 {
			return err
		}
		for done := false; !done; {
			done, err = paced(ctx, s, func(tx Tx) (bool, error) { return tx.Purge(list[0].ID, removeBatch) })
			if err != nil {
				return err
			}
		}
	}
}
