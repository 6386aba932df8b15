package im

import (
	"time"

	"github.com/imapi/imapi/seqs"
)

// HideReader reads the marks of users in conversations and the messages that they have
// hidden.
type HideReader interface {
	// Mark returns the mark of a user in a conversation, the zero Mark if they have none.
	// It is for channels and other conversations without memberships of their own;
	// [MemberReader.Membership] includes it for the rest.
	Mark(conversation ID, user UserID) (Mark, error)
	// Hidden reports whether the user has hidden, by its id, the message with this seq.
	Hidden(conversation ID, user UserID, seq int64) (bool, error)
	// HiddenIn returns the messages of a range that the user has hidden by their ids.
	HiddenIn(conversation ID, user UserID, r SeqRange) (seqs.Set, error)
	// HiddenBy returns the users who have hidden a message, by its id or by a mark.
	HiddenBy(m Message) ([]UserID, error)
	// HiddenSince returns up to limit of the ranges that the user has hidden since a time,
	// the newest first.
	HiddenSince(user UserID, since time.Time, limit int) ([]HiddenPart, error)
	// GoneSince returns up to limit conversations that the user has hidden since a time, or
	// that were deleted since then while the user was a member, the newest first. Of
	// deleted channels it returns all in spaces that the user was in then. It examines a bounded
	// number of deleted conversations; more reports whether there may be others.
	GoneSince(user UserID, since time.Time, limit int) (gone []GoneConversation, more bool, err error)
	// ReturnedTo returns up to limit ids of the conversations that the user has joined
	// again since a time, and of the threads in them, in ascending order, those greater
	// than after.
	ReturnedTo(user UserID, since time.Time, after ID, limit int) ([]ID, error)
}

// HideWriter stores marks and hides messages.
type HideWriter interface {
	// PutMark stores the mark of a user in a conversation.
	PutMark(conversation ID, user UserID, mark Mark) error
	// Hide hides the messages of a range from the user and returns the parts of the range
	// that were not hidden by their ids.
	Hide(conversation ID, user UserID, r SeqRange, at time.Time) (fresh seqs.Set, err error)
}
