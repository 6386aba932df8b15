package im

import "context"

// mayBurn refuses the burning of a message by hand. The message is as of now.
// One that is burned already is no refusal.
func (p Policy) mayBurn(actor Actor, c Conversation, m Message) error {
	switch {
	case c.Kind == Direct && m.Sender == actor.User:
		return Refuse(Forbidden, "not_recipient", "only who gets a message may burn it")
	case m.State == Burned:
		return nil
	case m.State != Active:
		return errErased(m.State)
	case c.Kind != Direct:
		return Refuse(Rule, "burn_unsupported", "only direct messages burn")
	case m.Burn == nil && !p.BurnAny:
		return Refuse(Conflict, "not_burnable", "the message was not sent for burning")
	default:
		return nil
	}
}

// Burn destroys a direct message that the actor got, now, and returns its
// tombstone. Repeating it returns the same and tells nobody.
func (s *Service) Burn(ctx context.Context, actor Actor, id ID) (Message, error) {
	return write(ctx, s, func(tx Tx) (Message, error) {
		c, _, m, err := s.readable(tx, actor, id)
		if err != nil {
			return Message{}, err
		}
		if err := s.policy.mayBurn(actor, c, m); err != nil {
			return Message{}, err
		}
		if m.State == Burned {
			return m, nil
		}
		return s.erase(tx, m, Erasure{State: Burned, At: s.time(), By: actor.User},
			Event{Actor: actor.User, ActorDevice: actor.Device})
	})
}
