package im

import "context"

// Caller is on whose behalf a [Store] is asked to do something. A store shares its
// time fairly between callers. The zero Caller is nobody in particular.
type Caller struct {
	// User is who acts, "" of the server's own jobs.
	User UserID
	// Job names the job of the server that acts, "" of users.
	Job string
}

type callerKey struct{}

// WithCaller returns a context of what is done on behalf of a caller. The server
// puts the user of a request into its context; a job of this package names itself.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a context, the zero one if there is none.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

type bulkKey struct{}

// WithBulk returns a context of writes that may take long. They have transactions of
// their own, in turn with those of the others.
func WithBulk(ctx context.Context) context.Context {
	return context.WithValue(ctx, bulkKey{}, true)
}

// IsBulk reports whether what is done in a context may take long.
func IsBulk(ctx context.Context) bool {
	bulk, _ := ctx.Value(bulkKey{}).(bool)
	return bulk
}

// asJob returns a context of what a job does: its writes are many.
func asJob(ctx context.Context, name string) context.Context {
	return WithBulk(WithCaller(ctx, Caller{Job: name}))
}

// manyRows is how many members, or other rows, are changed by a write that others
// would notice.
const manyRows = 100

// withSize is WithBulk for a write that changes many rows.
func withSize(ctx context.Context, rows int) context.Context {
	if rows < manyRows {
		return ctx
	}
	return WithBulk(ctx)
}
