package im

import "time"

// Mark is what a user made of a conversation, for themselves, on all of their
// devices. The zero value is that of who did nothing.
type Mark struct {
	// PinnedAt is when they pinned it, zero if it is not.
	PinnedAt time.Time
	Muted    bool
	// ClearedSeq is the last message that does not count as unread because they
	// cleared the count.
	ClearedSeq int64
	// HiddenSeq is the last message of those that they hid all at once, and
	// HiddenBefore the time before which what was created is hidden.
	HiddenSeq    int64
	HiddenBefore time.Time
	// HiddenAt is when they last moved one of the two.
	HiddenAt time.Time
	// Gone is set while the conversation is hidden, and GoneCounted is the
	// Counted of the conversation then: one more brings it back.
	Gone        bool
	GoneCounted int64
	// ChangedAt is when they last changed any of it.
	ChangedAt time.Time
}

// hides reports whether the conversation is hidden from its member.
func (k Mark) hides(c Conversation) bool { return k.Gone && c.Counted <= k.GoneCounted }

// Parts returns the messages that the mark hides, as ranges: up to HiddenSeq, and those
// created before HiddenBefore.
func (k Mark) Parts(conversation ID) []HiddenPart {
	var list []HiddenPart
	if k.HiddenSeq > 0 {
		list = append(list, HiddenPart{Conversation: conversation, At: k.HiddenAt, Range: SeqRange{From: 1, To: k.HiddenSeq}})
	}
	if !k.HiddenBefore.IsZero() {
		list = append(list, HiddenPart{Conversation: conversation, At: k.HiddenAt, Before: k.HiddenBefore})
	}
	return list
}

// touchMark notes that a user has changed what they see of a conversation.
func touchMark(tx Tx, c Conversation, me Access, now time.Time) error {
	mark := me.mark
	mark.ChangedAt = now
	return tx.PutMark(c.ID, me.user, mark)
}
