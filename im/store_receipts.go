package im

import (
	"time"

	"github.com/imapi/imapi/seqs"
)

// ReceiptReader reads receipts and counts unread messages.
type ReceiptReader interface {
	// ReceiptsIn returns the messages of a range for which the user has given a receipt of
	// a kind.
	ReceiptsIn(kind ReceiptKind, conversation ID, user UserID, r SeqRange) (seqs.Set, error)
	// ReceiptsOf returns the receipts of a kind for the message with a seq, in the order of the ids
	// of the users who gave them.
	ReceiptsOf(kind ReceiptKind, conversation ID, seq int64) ([]Receipt, error)
	// Tracked returns up to limit active messages of a range that others than the user sent with
	// receipt, in the order of their seqs and without their content.
	Tracked(conversation ID, r SeqRange, notBy UserID, limit int) ([]Message, error)
	// Unread counts the messages that a user has not read, for each query. All queries are of
	// the same user and time, and take few statements together.
	Unread(queries ...UnreadQuery) ([]UnreadCount, error)
}

// ReceiptWriter stores receipts.
type ReceiptWriter interface {
	// PutReceipt stores a receipt of the user for the messages of a range and returns the
	// parts of the range for which they had given none.
	PutReceipt(kind ReceiptKind, conversation ID, user UserID, r SeqRange, at time.Time) (fresh seqs.Set, err error)
}
