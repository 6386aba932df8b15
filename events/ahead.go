package events

import (
	"context"
	"time"

	"github.com/imapi/imapi/im"
)

// keptAhead is how long a window that was read ahead waits for its turn. What it shows was
// checked when it was read, and a client that does not read must not occupy memory for it.
const keptAhead = 100 * time.Millisecond

// logWindow is a window of the log, with the number of retractions before it was read.
type logWindow struct {
	im.EventWindow
	retractions uint64
}

// windowAfter reads the events after a position.
func (v *service) windowAfter(ctx context.Context, after, upTo im.Position) (*logWindow, error) {
	w := &logWindow{retractions: v.hub.retractions.count()}
	var err error
	w.EventWindow, err = v.hub.opts.Log.Events(ctx, v.actor, after, upTo, window)
	return w, err
}

// logContext returns a context for reading the log, which may wait for long.
func (v *service) logContext() (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(im.WithStream(im.WithCaller(v.ctx, im.Caller{User: v.actor.User})))
}

// ahead is a window that is read while the previous window is written. A nil *ahead means that
// nothing is read ahead.
type ahead struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	result chan logResult // closed after the result, or without one if nobody took it in time
}

type logResult struct {
	win *logWindow
	err error
}

// readAhead begins to read the events after a position. The caller must call [service.await] or
// [ahead.stop].
func (v *service) readAhead(after, upTo im.Position) *ahead {
	a := &ahead{result: make(chan logResult)}
	a.ctx, a.cancel = v.logContext()
	go func() {
		defer close(a.result)
		r := v.recoverWindow(a.ctx, after, upTo)
		kept := time.NewTimer(keptAhead)
		defer kept.Stop()
		select {
		case a.result <- r:
		case <-kept.C:
		case <-a.ctx.Done():
		}
	}()
	return a
}

// recoverWindow is windowAfter, and returns a panic as an error.
func (v *service) recoverWindow(ctx context.Context, after, upTo im.Position) (r logResult) {
	defer func() {
		if with := recover(); with != nil {
			r.err = v.panicked(with)
		}
	}()
	r.win, r.err = v.windowAfter(ctx, after, upTo)
	return r
}

// await returns the window that was read ahead, or nil if none was, or if it waited too long.
func (v *service) await(a *ahead) (*logWindow, error) {
	if a == nil {
		return nil, nil
	}
	defer a.stop()
	if err := v.interruptible(a.cancel); err != nil {
		return nil, err
	}
	defer func() { _ = v.interruptible(nil) }()
	r, kept := <-a.result
	if a.ctx.Err() != nil && (!kept || r.err != nil) {
		return nil, context.Cause(a.ctx)
	}
	return r.win, r.err
}

// stop ends the read and returns when it has ended.
func (a *ahead) stop() {
	if a == nil {
		return
	}
	a.cancel(nil)
	for range a.result { //nolint:revive // until it is closed
	}
}
