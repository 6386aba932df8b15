package im

import "context"

// What was removed, by retention or with its conversation, does not come back by a
// retry or a repeated import: for a time it is remembered what it was known by.

// Forget forgets what was removed for longer than the policy remembers it, in
// batches that let senders in between, and returns how much that was.
func (s *Service) Forget(ctx context.Context) (int, error) {
	before := s.time().Add(-s.policy.ClientIDRetention)
	if s.holds() {
		return 0, nil
	}
	return pacedAll(ctx, s, jobRows, func(tx Tx, limit int) (int, error) { return tx.Forget(before, limit) })
}

// errGone is the answer to who would send or import a message anew that was there
// and was removed. The field says what it is known by.
func errGone(field string) error {
	return RefuseField(Gone, "message_gone", field, "is that of a message that was removed, which does not come back")
}

// firstSent returns what was sent before under the client_id of a message. gone is set
// if that was removed, or is about to be.
func firstSent(tx Tx, e Entry) (first Message, again, gone bool, err error) {
	if e.Sent == 0 {
		return Message{}, false, e.Gone, nil
	}
	if first, again, err = maybe(tx.Message(e.Sent)); err == nil && again {
		gone, err = inDeleted(tx, first)
	}
	return first, again, gone, err
}

// inDeleted reports whether a message is one of a conversation that was deleted,
// which will be purged.
func inDeleted(r Reader, m Message) (bool, error) {
	c, err := r.Conversation(m.Conversation)
	return !c.DeletedAt.IsZero(), err
}
