package im

import "context"

// What was removed, by retention or with its conversation, does not come back by a
// retry or a repeated import: for a time it is remembered what it was known by.

// forgetBatch bounds how long one transaction of Forget holds up senders.
const forgetBatch = 1000

// Forget forgets what was removed for longer than the policy remembers it, in
// batches that let senders in between, and returns how much that was.
func (s *Service) Forget(ctx context.Context) (int, error) {
	before := s.time().Add(-s.policy.ClientIDRetention)
	for total := 0; ; {
		n, err := paced(ctx, s, func(tx Tx) (int, error) { return tx.Forget(before, forgetBatch) })
		total += n
		if err != nil || n < forgetBatch {
			return total, err
		}
	}
}

// errGone is the answer to who would send or import a message anew that was there
// and was removed. The field says what it is known by.
func errGone(field string) error {
	return RefuseField(Gone, "message_gone", field, "is that of a message that was removed, which does not come back")
}

// firstSent looks for what the actor sent before under the draft's client_id. gone is
// set if that was removed, or is about to be.
func firstSent(tx Tx, actor Actor, d Draft) (first Message, again, gone bool, err error) {
	if d.ClientID == "" {
		return Message{}, false, false, nil
	}
	first, again, err = maybe(tx.MessageByClientID(actor.User, d.ClientID))
	switch {
	case err != nil:
	case again:
		gone, err = inDeleted(tx, first)
	default:
		var as []ClientKey
		as, err = tx.GoneAs([]ClientKey{{Sender: actor.User, ClientID: d.ClientID}})
		gone = len(as) > 0
	}
	return first, again, gone, err
}

// inDeleted reports whether a message is one of a conversation that was deleted,
// which will be purged.
func inDeleted(r Reader, m Message) (bool, error) {
	c, err := r.Conversation(m.Conversation)
	return !c.DeletedAt.IsZero(), err
}
