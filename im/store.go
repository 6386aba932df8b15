package im

import (
	"context"
	"time"
)

// startKey marks the context of [AtStart].
type startKey struct{}

// AtStart returns a context for reads before the server is ready. They have no time limit, because
// there are no writes yet that a long read could delay, and a slow start is better than none.
func AtStart(ctx context.Context) context.Context { return context.WithValue(ctx, startKey{}, true) }

// IsAtStart reports whether a context comes from [AtStart].
func IsAtStart(ctx context.Context) bool { return ctx.Value(startKey{}) != nil }

// Store keeps the state. There is one writer at a time; readers see what was committed. It shares
// its time fairly between callers, see [CallerOf].
//
// It returns errors of the functions that it runs, an [Error] of the kind [Unavailable] if the call
// may succeed later, and one of the kind [Full] if the disk is full. Any other error is a fault of
// the program.
type Store interface {
	// View runs fn on a consistent snapshot and returns its error. Except with [AtStart], reads
	// that take longer than a limit, 500 ms by default, fail with an [Unavailable] error: a long
	// read keeps the write-ahead log from being truncated, and occupies a connection that other
	// readers need. fn must not write to a client. If fn reads content that was erased after the
	// snapshot, View runs it again on a newer one. So fn must assign its results and not add to
	// them.
	View(ctx context.Context, fn func(Reader) error) error

	// Readers returns the number of Views that run at once; others wait.
	Readers() int

	// Write runs fn in a transaction, which it may share with other calls, and returns once
	// the transaction is durable or rolled back. It returns an error of fn unchanged. fn may be run
	// more than once, so it must assign its results and not add to them, use only its Tx, and
	// refuse before it changes anything. If ctx ends before fn runs, Write returns its cause;
	// afterwards ctx is ignored.
	//
	// The calls of one caller run in their order. Different callers take turns by the time that
	// their calls took, so that a long queue of one does not delay the others. Calls with [IsBulk]
	// share no transaction. If too many calls wait, in all or of one caller, further ones fail at
	// once with an [Unavailable] error, code "overloaded". So does a user's call that has waited
	// for too long, unless it is bulk; its fn does not run.
	Write(ctx context.Context, fn func(Tx) error) error

	// Admit is called at the start of a write request, before any other work for it. While too many
	// writes wait, it waits for a moment. It returns an [Unavailable] error, code "overloaded", if
	// there are still too many then, or at once if too many requests wait in Admit already. If ctx
	// ends first, it returns its cause. Callers without a waiting write who have not exceeded their
	// share go before the others.
	Admit(ctx context.Context, c Caller) error

	// OnCommit registers a function that is called with every commit, in their order. It
	// runs on the writer's goroutine and must not block. For a commit that cuts off tokens, blocks
	// a user or erases content it is called before Write returns; otherwise it may be called
	// afterwards, but before the next commit. It must be registered before the first Write.
	OnCommit(fn func(Commit))

	// Head returns the position of the newest committed event. It includes the events of a
	// call of Write when that returns.
	Head() Position

	// Instance returns the identity of the data of this store.
	Instance() Instance

	// NextBlobKey returns a slot and its key for a blob, which were never returned before. The
	// caller must pass the slot to [AttachmentWriter.InsertAttachment],
	// [ThumbnailWriter.UpdateThumbnail] or [AttachmentWriter.DoomSlot].
	NextBlobKey() (Slot, Key, error)
	// BlobKey returns the key in a slot. The error is a [ShreddedError], [ErrNoKey], or the error
	// of reading it.
	BlobKey(slot Slot) (Key, error)

	// Ready returns why the store cannot take writes, nil if it can.
	Ready(ctx context.Context) error

	// Unshredded returns the number of keys of erased content that are not shredded yet, and the
	// time since which the oldest has waited. The store retries until all are shredded.
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

// Reader reads a snapshot of the state. A method returns [ErrNotFound] if its comment says so;
// otherwise an unknown user or conversation yields an empty result. Every method may return the
// errors of [Store]. Methods that return content may also return a [ShreddedError] if its key was
// shredded after the snapshot; [Store.View] then runs its function again. Times are in UTC, in
// milliseconds.
type Reader interface {
	ConversationReader
	MemberReader
	SpaceReader
	MessageReader
	ReceiptReader
	ErasureReader
	AttachmentReader
	RetentionReader
	LogReader
	WebhookReader
}

// Tx is a transaction. It reads its own writes. Check the rules before the first method that
// writes: an error afterwards rolls back the whole transaction with the other calls in it, which
// then have to run again. The errors are those of [Reader].
type Tx interface {
	Reader
	ConversationWriter
	MemberWriter
	SpaceWriter
	MessageWriter
	ReceiptWriter
	ErasureWriter
	AttachmentWriter
	RetentionWriter
	LogWriter
	WebhookWriter
}
