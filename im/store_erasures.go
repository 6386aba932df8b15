package im

import "time"

// ErasureReader reads what was erased and what is due to be, and checks whether content can be
// unsealed.
type ErasureReader interface {
	SealedReader

	// Due returns up to limit messages that are due to be erased at now, the earliest due
	// first, with their content.
	Due(now time.Time, limit int) ([]Message, error)
	// NextDue returns when the next message is due; false if none is.
	NextDue() (time.Time, bool, error)
	// Unstarted returns up to limit active messages of a range that burn after being read
	// and were not read yet, which the user did not send, in the order of their seqs and with their
	// content.
	Unstarted(conversation ID, r SeqRange, notBy UserID, limit int) ([]Message, error)
	// Burning returns up to limit active messages of a range whose time to burn is set,
	// which the user did not send, in the order of their seqs and without their content.
	Burning(conversation ID, r SeqRange, notBy UserID, limit int) ([]Message, error)
	// Erasures returns a page of erased messages, in the order of their stamps: of the
	// conversations that a user is a member of now, or of all. It examines a bounded number of
	// erasures, so a page may be short or empty and still have a Next.
	Erasures(q ErasureQuery) (ErasurePage, error)
	// ErasedIn returns up to limit erased messages of a conversation with seqs greater than after,
	// in the order of their seqs.
	ErasedIn(conversation ID, after int64, limit int) ([]ErasedMessage, error)
	// Stamped returns the latest result of [ErasureWriter.Stamp], zero if there is none.
	Stamped() (time.Time, error)
}

// ErasureWriter erases messages, and what cannot be unsealed.
type ErasureWriter interface {
	SealedWriter

	// Erase makes an active message a tombstone. Its key is shredded after the commit.
	// stamp is the result of Stamp. It returns false, and changes nothing, if the message is not
	// active.
	Erase(id ID, e Erasure, stamp time.Time) (bool, error)
	// StartBurn sets when an active message burns. It returns ErrNotFound if there is no
	// such message or it is not active.
	StartBurn(id ID, at time.Time) error
	// Stamp returns the time under which the transaction lists what it erases, hides or
	// deletes: now, or the millisecond after the latest stamp of an earlier transaction if
	// the clock was set back or has not advanced. A client that has read everything up to
	// [ErasureReader.Stamped] therefore finds the rest after it.
	Stamp(now time.Time) (time.Time, error)
}

// SealedReader reads sealed content that may be damaged or without its key, for restores and for
// verifying.
type SealedReader interface {
	// Sealed returns what was sealed in up to limit messages, conversations, roles, attachments,
	// thumbnails or webhooks after a key, and whether it can be unsealed. Erased messages,
	// attachments and thumbnails are included while the slots of their keys are known.
	Sealed(after SealedKey, limit int, look SealedLook) (SealedPage, error)
	// MessageShell returns a message without its content, even if that cannot be unsealed,
	// or ErrNotFound.
	MessageShell(id ID) (Message, error)
}

// SealedWriter repairs a restored store with content whose keys are shredded.
type SealedWriter interface {
	// Remove deletes messages of a conversation as [RetentionWriter.Trim] does, wherever
	// they are in it, and returns the number of those that were active and visible to every member.
	// Their events, receipts and hides are left to a trimming, which it begins. It returns
	// ErrNotFound if there is no such conversation.
	Remove(conversation ID, ids []ID, at time.Time) (active int, err error)
	// Empty deletes a sealed note, text or webhook secret that cannot be unsealed, or returns
	// ErrNotFound. It returns an error for other kinds.
	Empty(s Sealed) error
	// Doom marks the key of erased content, which is then shredded after the commit.
	Doom(s Sealed) error
}
