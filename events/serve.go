package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imapi/imapi/im"
)

const (
	// chunkSize is how many bytes of frames are put together for one write.
	chunkSize = 64 << 10
	// window is how many events are read from the log at a time. They are held
	// until the client has taken them, so it bounds what a slow one costs.
	window = 64
)

// Serve writes the stream until it ends, and takes it from the hub. It returns
// nil if the hub was closed, [ErrTokenExpired] or [ErrTokenCut] if the stream
// ended for that, the cause if the context did, else what went wrong. Whatever
// it is, the client may resume by its cursor. Call it once.
func (s *Subscription) Serve(ctx context.Context, sink Sink) error {
	defer s.hold(nil)
	defer s.Close()
	v := service{Subscription: s, ctx: ctx, sink: sink}
	err := v.run()
	switch {
	case errors.Is(err, ErrClosed):
		err = nil
	case errors.Is(err, ErrTokenExpired), errors.Is(err, ErrTokenCut):
	default:
		return err
	}
	// The response body is yet to be ended, which needs a fresh deadline; if
	// the client has gone, that is all the same now.
	_ = sink.Flush()
	return err
}

// service is a stream being served.
type service struct {
	*Subscription
	ctx     context.Context
	sink    Sink
	written time.Time // the last write's
	event   time.Time // that of the last event
	// got are the messages of what is being written that count as delivered
	// once it was.
	got []im.Delivery
}

func (v *service) run() error {
	if err := v.open(); err != nil {
		return err
	}
	timer := time.NewTimer(v.due())
	defer timer.Stop()
	for {
		batch, behind, ended := v.take()
		switch {
		case ended != nil:
			return ended
		case behind:
			if err := v.catchUp(); err != nil {
				return err
			}
			continue
		case len(batch) > 0:
			// If it is outdated it is behind, too.
			if err := v.write(batch, true); err != nil && !errors.Is(err, errOutdated) {
				return err
			}
			continue
		}
		select {
		case <-v.ctx.Done():
			return context.Cause(v.ctx)
		case <-v.wake:
		case <-timer.C:
			if err := v.tick(); err != nil {
				return err
			}
			timer.Reset(v.due())
		}
	}
}

// due returns how long nothing has to be done unless something happens. The
// timer is not set again for every write; it finds out when it fires.
func (v *service) due() time.Duration {
	d := time.Until(v.written.Add(v.hub.opts.Heartbeat))
	if !v.expiresAt.IsZero() {
		d = min(d, time.Until(v.expiresAt))
	}
	return max(d, 0)
}

// tick does what is due.
func (v *service) tick() error {
	now := time.Now()
	if err := v.endedBy(now); err != nil {
		return err
	}
	if now.Sub(v.written) < v.hub.opts.Heartbeat {
		return nil
	}
	if position, ok := v.settled(); ok {
		v.position = max(v.position, position)
	}
	if now.Sub(v.event) >= v.hub.opts.Refresh {
		return v.sendOwn(nil, Ready, v.at())
	}
	return v.heartbeat()
}

func (v *service) heartbeat() error {
	return v.send(appendHeartbeat(nil, v.at()))
}

// at returns the cursor up to which the client was told everything.
func (v *service) at() Cursor {
	return v.hub.cursorAt(v.position)
}

// open begins the stream, and says so before the log is looked at.
func (v *service) open() error {
	cursor := v.at()
	if v.cursor != nil {
		cursor = *v.cursor
	}
	if err := v.sendOwn(v.hub.retry(), Ready, cursor); err != nil {
		return err
	}
	if v.cursor == nil {
		return nil
	}
	return v.resume(cursor)
}

// resume goes back to the client's cursor. The log is read later, for the
// stream is behind.
func (v *service) resume(c Cursor) error {
	// Who missed nothing costs no read: after a broken connection that is most.
	if c.Log != v.hub.opts.LogID || c.Position != v.hub.position() {
		var bounds im.LogBounds
		err := v.read(func(ctx context.Context) (err error) {
			bounds, err = v.hub.opts.Log.LogBounds(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if _, reset := Resolve(c, bounds, v.hub.opts.LogID); reset {
			return v.reset()
		}
	}
	v.position = c.Position
	return nil
}

// reset tells the client that it has missed something, and goes on from now.
func (v *service) reset() error {
	v.position = v.join(0)
	return v.sendOwn(nil, Reset, v.at())
}

// sendOwn sends an event of the stream itself, after what is in before.
func (v *service) sendOwn(before []byte, typ im.EventType, c Cursor) error {
	id := c.String()
	data, err := v.hub.opts.Encode(im.Event{Position: c.Position, Type: typ, At: time.Now()}, id)
	if err != nil {
		return fmt.Errorf("encode %s: %w", typ, err)
	}
	if err := v.send(appendFrame(before, id, typ, data)); err != nil {
		return err
	}
	v.event = v.written
	return nil
}

// catchUp reads the log until the stream can join the dispatcher again. Most is
// read before joining, so that the queue is not filled meanwhile; if it is all
// the same, the stream is behind again, but further on.
func (v *service) catchUp() error {
	if err := v.replay(v.hub.position()); err != nil {
		return err
	}
	return v.replay(v.join(v.position))
}

// replay tells what the log has up to a position.
func (v *service) replay(upTo im.Position) error {
	for v.position < upTo {
		if err := v.alive(); err != nil {
			return err
		}
		through, frames, err := v.readWindow(upTo)
		if errors.Is(err, errCut) {
			if err := v.reset(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		err = v.write(frames, false)
		if errors.Is(err, errOutdated) {
			continue
		}
		if err != nil {
			return err
		}
		v.hold(nil)
		v.position = through
		if time.Since(v.written) >= v.hub.opts.Heartbeat {
			if err := v.heartbeat(); err != nil {
				return err
			}
		}
	}
	return nil
}

// errCut says that the log was cut past the stream's position.
var errCut = errors.New("log cut")

// errOutdated says that frames must be read from the log again, after the
// stream's position.
var errOutdated = errors.New("frames outdated")

// readWindow reads the next stretch of the log and holds its frames.
func (v *service) readWindow(upTo im.Position) (through im.Position, frames []*Frame, err error) {
	for {
		removals := v.hub.removals.count()
		var win im.EventWindow
		err = v.read(func(ctx context.Context) (err error) {
			win, err = v.hub.opts.Log.Events(ctx, v.actor, v.position, upTo, window)
			return err
		})
		if err != nil {
			return 0, nil, err
		}
		if win.Cut > v.position {
			return 0, nil, errCut
		}
		if win.Through <= v.position {
			return 0, nil, fmt.Errorf("event log stands still at %d on the way to %d", v.position, upTo)
		}
		frames = make([]*Frame, 0, len(win.Events))
		for i := range win.Events {
			f, err := v.hub.newFrame(win.Events[i])
			if err != nil {
				v.hub.unencodable(&win.Events[i], err)
				continue
			}
			frames = append(frames, f)
		}
		v.hub.waiting.add(frames...)
		v.hold(frames)
		// What was removed while this was read has looked for waiting frames
		// before these were there.
		if v.hub.removeSince(removals, v.actor.User, frames) {
			return win.Through, frames, nil
		}
	}
}

// read runs fn, which reads the log with the context that it is given. That ends with
// the stream and with the hub: it may wait for its turn for long.
func (v *service) read(fn func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(im.WithStream(im.WithCaller(v.ctx, im.Caller{User: v.actor.User})))
	defer cancel(nil)
	stop := context.AfterFunc(v.hub.ctx, func() { cancel(ErrClosed) })
	defer stop()
	err := fn(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// chunks are for putting frames together; most of the time a stream has none.
var chunks = sync.Pool{New: func() any {
	b := make([]byte, 0, chunkSize)
	return &b
}}

// write tells frames: a few large writes for many small frames, each flushed.
// It stops with errOutdated if the rest must be read from the log again.
func (v *service) write(frames []*Frame, live bool) error {
	var chunk *[]byte
	if len(frames) > 1 {
		chunk = chunks.Get().(*[]byte)
		defer chunks.Put(chunk)
	}
	for len(frames) > 0 {
		if err := v.alive(); err != nil {
			return err
		}
		if v.isOutdated() {
			return errOutdated
		}
		now := time.Now()
		w := v.hub.wireAt(frames[0], now)
		v.got = v.got[:0]
		v.note(frames[0], w)
		n, p := 1, w.bytes
		if len(frames) > 1 && len(p) < chunkSize {
			p = append((*chunk)[:0], p...)
			for ; n < len(frames); n++ {
				w := v.hub.wireAt(frames[n], now)
				if len(p)+len(w.bytes) > chunkSize {
					break
				}
				p = append(p, w.bytes...)
				v.note(frames[n], w)
			}
		}
		if err := v.send(p); err != nil {
			return err
		}
		v.told(frames[:n], live)
		frames = frames[n:]
	}
	return nil
}

// note takes down that the user gets a message by what is being written of a
// frame, if its sender is to be told so.
func (v *service) note(f *Frame, w *wire) {
	if w.tracked && v.hub.receipts != nil && f.sender != v.actor.User {
		v.got = append(v.got, f.delivery(v.actor.User))
	}
}

func (v *service) told(frames []*Frame, live bool) {
	v.position = frames[len(frames)-1].event.Position
	v.event = v.written
	if len(v.got) > 0 {
		v.hub.receipts.put(v.got)
		if cap(v.got) > 8 {
			v.got = nil // see take
		}
	}
	if !live {
		v.hub.opts.Observer.EventsReplayed(len(frames))
		return
	}
	for _, f := range frames {
		v.hub.opts.Observer.EventDelivered(v.written.Sub(f.event.At))
	}
}

// alive returns why nothing more may be written.
func (v *service) alive() error {
	if v.ctx.Err() != nil {
		return context.Cause(v.ctx)
	}
	return v.endedBy(time.Now())
}

func (v *service) send(p []byte) error {
	if err := v.sink.Write(p); err != nil {
		return err
	}
	if err := v.sink.Flush(); err != nil {
		return err
	}
	v.written = time.Now()
	return nil
}
