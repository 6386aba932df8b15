package im

import "context"

// mayBurn returns the reason why the actor may not burn a message, nil if they may. That it is
// burned already is no reason. m is the message as of now.
func (p Policy) mayBurn(actor Actor, c Conversation, m Message) error {
	switch {
	case c.Kind == Direct && m.Sender == actor.User:
		return Refuse(Forbidden, "not_recipient", "only the recipient of a message may burn it")
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

// Burn burns a direct message that the actor received and returns its tombstone. For a message that
// is burned already it returns the tombstone and publishes nothing. It refuses a message that the
// actor cannot read or has sent, that is revoked or expired, that is not direct, or that was not
// sent for burning, unless the policy allows any to be burned.
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
