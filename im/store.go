package im

import (
	"context"
	"time"
)

// startKey marks the context of [AtStart].
type startKey struct{}

// AtStart returns a context for reads before the server is ready. They have no time limit:
// nothing is written yet that a long read could delay, and a slow start is better than
// none.
func AtStart(ctx context.Context) context.Context { return context.WithValue(ctx, startKey{}, true) }

// IsAtStart reports whether a context comes from [AtStart].
func IsAtStart(ctx context.Context) bool { return ctx.Value(startKey{}) != nil }

// Store keeps the state. It has one writer at a time; readers see what was committed. It
// shares its time fairly between callers, see [CallerOf].
//
// Its errors are, besides those of the functions that it runs, an [Error] of the kind
// [Unavailable] if the call may succeed later, one of the kind [Full] if the disk is full,
// and others that are faults of the program.
type Store interface {
	// View runs fn on a consistent snapshot and returns its error. Reads that take longer
	// than a limit, 500 ms by default, fail with an [Unavailable] error: a long read keeps
	// the write-ahead log from being truncated and a connection from other readers. fn must
	// not write to a client. If fn has read content that was erased since, it is run again
	// on a newer snapshot, so it must assign its results and not add to them.
	View(ctx context.Context, fn func(Reader) error) error

	// Readers returns how many Views run at once; others wait.
	Readers() int

	// Write runs fn in a transaction, which it may share with other calls, and returns once
	// the transaction is durable or rolled back. It returns an error of fn unchanged. fn may
	// be run more than once: it must assign its results and not add to them, use only its
	// Tx, and refuse before it changes anything. If ctx is done before fn runs, Write returns
	// its cause; later it is ignored.
	//
	// The calls of one caller run in their order. Different callers take turns by the time
	// that their calls took, so that a long queue of one does not delay the others. Calls
	// with [IsBulk] share no transaction. Too many waiting calls, in all or of one caller,
	// fail at once with an [Unavailable] error, code "overloaded". So does a call of a user,
	// unless IsBulk, that waits for too long; fn does not run then.
	Write(ctx context.Context, fn func(Tx) error) error

	// Admit is called before a request of a caller that will write costs anything. While too
	// many writes wait, it waits for a moment, and then returns an [Unavailable] error, code
	// "overloaded", or the context's cause. Callers without a waiting write, who have not had
	// more than their share, go before the others.
	Admit(ctx context.Context, c Caller) error

	// OnCommit registers a function that is called with every commit, in their order. It
	// runs on the writer's goroutine and must not block. For a commit that cuts off tokens,
	// blocks a user or erases content it is called before Write returns, else afterwards and before the
	// next commit. It must be registered before the first Write.
	OnCommit(fn func(Commit))

	// Head returns the position of the newest committed event. It includes the events of a
	// call of Write when that returns.
	Head() Position

	// Instance returns what identifies the data of this store.
	Instance() Instance

	// NextBlobKey returns a slot and its key that were never returned before, for a blob. It
	// must be named by [AttachmentWriter.InsertAttachment] or given to
	// [AttachmentWriter.DoomSlot].
	NextBlobKey() (Slot, Key, error)
	// BlobKey returns the key in a slot. Its error is a [ShreddedError], [ErrNoKey], or that
	// of reading.
	BlobKey(slot Slot) (Key, error)

	// Ready returns why the store cannot take writes, nil if it can.
	Ready(ctx context.Context) error

	// Unshredded returns how many keys of erased content are not shredded yet, and the time
	// since which the oldest has waited. The store retries until all are.
	Unshredded() (n int, since time.Time)

	// SearchState returns the state of the search index.
	SearchState() SearchState

	// Close waits for pending calls of Write and closes the store. Later calls fail.
	Close() error
}

// Instance identifies the data of a store.
type Instance struct {
	// Store identifies the data and their keys.
	Store StoreID
	// LastID is the greatest id of a message when the store was opened. New ids are
	// greater, whatever the clock shows.
	LastID ID
	// ClockSeen is the time last stored by [LogWriter.PutClockSeen] before the store was
	// opened, zero if there is none.
	ClockSeen time.Time
	// Log names the event log. Cursors of other logs are invalid, except those of PastLogs
	// up to their heads.
	Log      uint32
	PastLogs []PastLog
	// TicketKey signs stream tickets, and derives the client_ids of server sends: 32 random
	// bytes.
	TicketKey []byte
}

// Page asks for one page of a list.
type Page struct {
	// After is the key of the last item of the previous page; "" starts at the beginning.
	After string
	Limit int
}

// Reader reads a snapshot of the state. Where the comment of a method says so, it returns
// [ErrNotFound]; elsewhere an unknown user or conversation yields an empty result. Every
// method may return the errors of [Store]. Methods that return content may also return a
// [ShreddedError] if its key was shredded after the snapshot; [Store.View] then runs its
// function again. Times are in UTC, in milliseconds.
type Reader interface {
	ConversationReader
	MemberReader
	SpaceReader
	MessageReader
	ReceiptReader
	HideReader
	ErasureReader
	SealedReader
	AttachmentReader
	ThumbnailReader
	RetentionReader
	LogReader
	WebhookReader
}

// Tx is a transaction. It reads its own writes. Rules must be checked before the first
// method that writes: an error afterwards rolls back the whole transaction, with the other
// calls in it, which then have to be run again. Any errors are from [Reader].
type Tx interface {
	Reader
	ConversationWriter
	MemberWriter
	SpaceWriter
	MessageWriter
	ReceiptWriter
	HideWriter
	ErasureWriter
	SealedWriter
	AttachmentWriter
	ThumbnailWriter
	RetentionWriter
	LogWriter
	WebhookWriter
}
