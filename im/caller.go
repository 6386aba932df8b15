package im

import "context"

// Caller is the user or job that a [Store] works for. A store shares its time fairly between
// callers. All work without a caller shares the zero Caller.
type Caller struct {
	// User is the acting user, "" for the server's own jobs.
	User UserID
	// Job names the acting job of the server, "" for users.
	Job string
}

type callerKey struct{}

// WithCaller returns a context for work of a caller. The server sets the user of a request;
// jobs set their own names.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a context, or the zero Caller.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

type bulkKey struct{}

// WithBulk returns a context for writes that may take long. Each such write has a transaction of
// its own, between the transactions of other callers.
func WithBulk(ctx context.Context) context.Context {
	return context.WithValue(ctx, bulkKey{}, true)
}

// IsBulk reports whether writes in a context may take long.
func IsBulk(ctx context.Context) bool {
	bulk, _ := ctx.Value(bulkKey{}).(bool)
	return bulk
}

// asJob returns a context for a job of this name, whose writes are bulk.
func asJob(ctx context.Context, name string) context.Context {
	return WithBulk(WithCaller(ctx, Caller{Job: name}))
}

// manyRows is the number of rows, such as members, from which a write is bulk, because
// other callers would notice how long it takes.
const manyRows = 100

// withSize is WithBulk for a write that changes many rows.
func withSize(ctx context.Context, rows int) context.Context {
	if rows < manyRows {
		return ctx
	}
	return WithBulk(ctx)
}
