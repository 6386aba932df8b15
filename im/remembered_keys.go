package im

import "context"

// The ids, client_ids, senders and times of trimmed and purged messages are remembered for a while,
// so that neither a retry nor a repeated import stores such a message again. So are the client_ids
// under which deleted conversations were created.

// Forget forgets the messages that were trimmed or purged longer ago than the policy's
// ClientIDRetention, the direct conversations that were purged longer ago, and the creations of
// conversations that were deleted longer ago. It returns the number of all together. It works in steps with pauses, see [PauseAfter], and forgets nothing
// while the clock is not trusted.
func (s *Service) Forget(ctx context.Context) (int, error) {
	ctx = asJob(ctx, "client ids")
	before := s.time().Add(-s.policy.ClientIDRetention)
	if s.holds() {
		return 0, nil
	}
	return pacedAll(ctx, s, jobRows, func(tx Tx, limit int) (int, error) { return tx.Forget(before, limit) })
}

// errGone refuses to send or import a message again that was trimmed or purged. field names the key
// by which it was recognised.
func errGone(field string) error {
	return RefuseField(Gone, "message_gone", field, "belongs to a deleted message, which is not stored again")
}

// firstSent returns the message that was sent before under the client_id of an entry. gone
// is set if it was trimmed or purged, or will be purged.
func firstSent(r Reader, e Entry) (first Message, again, gone bool, err error) {
	if e.Sent == 0 {
		return Message{}, false, e.Gone, nil
	}
	if first, again, err = maybe(r.Message(e.Sent)); err == nil && again {
		gone, err = inDeleted(r, first)
	}
	return first, again, gone, err
}

// inDeleted reports whether the conversation of a message was deleted. Then the message will
// be purged.
func inDeleted(r ConversationReader, m Message) (bool, error) {
	c, err := r.Conversation(m.Conversation)
	return !c.DeletedAt.IsZero(), err
}
