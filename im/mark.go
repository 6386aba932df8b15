package im

import "time"

// Mark is a user's own state in a conversation, on all of their devices. A user without one
// has the zero Mark.
type Mark struct {
	// PinnedAt is when they pinned it, zero if it is not.
	PinnedAt time.Time
	Muted    bool
	// ClearedSeq is the seq up to which messages do not count as unread, because the user cleared
	// the count, hid the conversation, or could not see the channel until then.
	ClearedSeq int64
	// HiddenSeq is the seq up to which messages are hidden. Those created before HiddenBefore
	// are hidden, too.
	HiddenSeq    int64
	HiddenBefore time.Time
	// HiddenAt is when they last changed one of the two.
	HiddenAt time.Time
	// Gone is set if they have hidden the conversation, and GoneCounted is its Counted at that
	// time. The conversation reappears when Counted is greater.
	Gone        bool
	GoneCounted int64
	// ChangedAt is when they last changed any of it.
	ChangedAt time.Time
}

// hides reports whether the user has hidden the conversation and no message was sent since.
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

// touchMark stores that a user has changed their own state in a conversation.
func touchMark(tx HideWriter, c Conversation, me Access, now time.Time) error {
	mark := me.mark
	mark.ChangedAt = now
	return tx.PutMark(c.ID, me.user, mark)
}
