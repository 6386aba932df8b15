package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/imapi/imapi/faults"
	"github.com/imapi/imapi/im"
)

const (
	// chunkSize is the maximum number of bytes of small frames that are joined for one write.
	chunkSize = 64 << 10
	// window is the maximum number of events that are read from the log at once. They stay in
	// memory until the client has read them, so this bounds the cost of a slow client.
	window = 128
)

// Serve writes the stream until it ends, and removes it from the hub. It returns nil if
// the hub was closed, [ErrTokenExpired] or [ErrTokenCut] if the token ended, the cause if
// ctx ended, or the error of the sink or the log. In all cases the client may resume at its cursor.
// Serve must be called once.
func (s *Subscription) Serve(ctx context.Context, sink Sink) error {
	defer s.hold(nil)
	defer s.Close()
	s.mu.Lock()
	s.wake = make(chan struct{}, 1)
	s.mu.Unlock()
	v := service{Subscription: s, ctx: ctx, sink: sink}
	err := v.run()
	switch {
	case errors.Is(err, ErrClosed):
		err = nil
	case errors.Is(err, ErrTokenExpired), errors.Is(err, ErrTokenCut):
	default:
		return err
	}
	// Flush sets a new write deadline for the server to end the response body. It fails if the
	// client has disconnected, which does not matter.
	_ = sink.Flush()
	return err
}

// service is a stream that is being served.
type service struct {
	*Subscription
	ctx       context.Context
	sink      Sink
	written   time.Time // the time of the last write
	moved     time.Time // the time of the last write of a cursor
	lastEvent time.Time // the time of the last write of an event
	chunked   bool      // the sink takes chunks of HTTP/1.1
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
			// An invalidated stream continues like one that is behind.
			if err := v.write(batch, true); err != nil && !errors.Is(err, errInvalidated) {
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

// due returns the time until the next heartbeat or the end of the token. Writes do not reset the
// timer: tick checks whether a heartbeat is due.
func (v *service) due() time.Duration {
	d := time.Until(v.moved.Add(v.hub.opts.Heartbeat))
	if !v.expiresAt.IsZero() {
		d = min(d, time.Until(v.expiresAt))
	}
	return max(d, 0)
}

// tick returns the reason why the stream has ended, if it has. Otherwise, if a heartbeat is due, it
// writes one, or [Ready] if no event was written for the time Refresh.
func (v *service) tick() error {
	now := time.Now()
	if err := v.endedBy(now); err != nil {
		return err
	}
	if now.Sub(v.moved) < v.hub.opts.Heartbeat {
		return nil
	}
	if position, ok := v.settled(); ok {
		v.position = max(v.position, position)
	}
	if now.Sub(v.lastEvent) >= v.hub.opts.Refresh {
		return v.sendOwn(nil, Ready, v.at())
	}
	return v.heartbeat()
}

func (v *service) heartbeat() error {
	err := v.sendBlock(appendHeartbeat(beginChunk(nil), v.at()))
	v.moved = v.written
	return err
}

// at returns the cursor up to which all events were written.
func (v *service) at() Cursor {
	return v.hub.cursorAt(v.position)
}

// open writes the first event, before it reads the log.
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

// resume continues at the cursor of the client, or resets the stream if [resolve] requires that.
// Without a reset, the stream is behind, so the log is read from the cursor next.
func (v *service) resume(c Cursor) error {
	// Most clients resume after a broken connection and have missed nothing, so the log need not be
	// read.
	if c.Log != v.hub.opts.LogID || c.Position != v.hub.position() {
		var bounds im.LogBounds
		err := v.read(func(ctx context.Context) (err error) {
			bounds, err = v.hub.opts.Log.LogBounds(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if _, reset := resolve(c, bounds, v.hub.opts.LogID); reset {
			return v.reset()
		}
	}
	v.position = c.Position
	return nil
}

// reset writes [Reset] and continues after the newest event.
func (v *service) reset() error {
	v.position = v.join(0)
	return v.sendOwn(nil, Reset, v.at())
}

// sendOwn writes the bytes of before, and then an event of the stream itself with a cursor.
func (v *service) sendOwn(before []byte, typ im.EventType, c Cursor) error {
	id := c.String()
	json := v.hub.opts.Encode(nil, &im.Event{Position: c.Position, Type: typ, At: time.Now()}, id)
	buf := append(beginChunk(nil), before...)
	if err := v.sendBlock(appendFrame(buf, id, typ, json)); err != nil {
		return err
	}
	v.lastEvent, v.moved = v.written, v.written
	return nil
}

// catchUp reads the log until the stream can join the dispatcher again. It reads most of
// it before joining: the queue fills only during the rest. If it overflows nonetheless, the
// stream is behind again, at a later position.
func (v *service) catchUp() error {
	if err := v.replay(v.hub.position()); err != nil {
		return err
	}
	return v.replay(v.join(v.position))
}

// replay writes the events of the log up to a position. While it writes one window it reads the
// next, unless the client takes its time.
func (v *service) replay(upTo im.Position) error {
	var next *ahead
	defer func() { next.stop() }()
	var room []byte // for the encodings of a window, once no frame of the previous window is left
	quick := false
	for v.position < upTo {
		if err := v.alive(); err != nil {
			return err
		}
		through, frames, used, err := v.readWindow(next, upTo, room)
		next, room = nil, nil
		if errors.Is(err, errCut) {
			if err := v.reset(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if quick && through < upTo {
			next = v.readAhead(through, upTo)
		}
		began := time.Now()
		err = v.write(frames, false)
		quick = time.Since(began) < keptAhead
		if errors.Is(err, errInvalidated) {
			next.stop()
			next = nil
			continue
		}
		if err != nil {
			return err
		}
		v.hold(nil)
		v.position = through
		if cap(used) <= mostRoom {
			room = used
		}
		if time.Since(v.moved) >= v.hub.opts.Heartbeat {
			if err := v.heartbeat(); err != nil {
				return err
			}
		}
	}
	return nil
}

// mostRoom is the maximum size of encodings, in bytes, whose memory is reused.
const mostRoom = 256 << 10

// errCut means that the log was trimmed past the position of the stream.
var errCut = errors.New("log trimmed")

// errInvalidated means that frames must be read from the log again, from the position of
// the stream on.
var errInvalidated = errors.New("frames invalidated")

// readWindow returns the next events of the log, holds their frames, and returns the memory of
// their encodings, for which it uses room. next is the window at the position of the stream, nil
// if it is not read yet.
func (v *service) readWindow(next *ahead, upTo im.Position, room []byte) (through im.Position, frames []*Frame, used []byte, err error) {
	for ; ; room = nil {
		win, err := v.await(next)
		next = nil
		if err == nil && win == nil {
			err = v.read(func(ctx context.Context) (err error) {
				win, err = v.windowAfter(ctx, v.position, upTo)
				return err
			})
		}
		if err != nil {
			return 0, nil, nil, err
		}
		if win.Cut > v.position {
			return 0, nil, nil, errCut
		}
		if win.Through <= v.position {
			return 0, nil, nil, fmt.Errorf("event log does not advance from %d to %d", v.position, upTo)
		}
		frames, used = v.hub.newFrames(win.Events, room)
		v.hub.unwritten.add(frames...)
		v.hold(frames)
		// Retractions during the read did not reach these frames.
		if v.hub.retractSince(win.retractions, v.actor.User, frames) {
			return win.Through, frames, used, nil
		}
	}
}

// read calls fn with a context for reading the log, which may wait for long. The context
// ends with the stream.
func (v *service) read(fn func(context.Context) error) error {
	ctx, cancel := v.logContext()
	defer cancel(nil)
	if err := v.interruptible(cancel); err != nil {
		return err
	}
	defer func() { _ = v.interruptible(nil) }()
	err := fn(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// joiner joins small frames for one write.
type joiner struct {
	buf   []byte
	wires []*wire // of the frames that are written
}

// joiners are used by goroutines that write one stream. An idle stream has none.
var joiners = sync.Pool{New: func() any { return new(joiner) }}

// join returns the bytes of the first frames, as many as fit into one write, and puts their
// encodings into wires.
func (j *joiner) join(v *service, frames []*Frame, now time.Time) []byte {
	first := v.wireAt(frames[0], now)
	j.wires = append(j.wires[:0], first)
	p := v.bytesOf(first)
	if len(frames) == 1 || len(p) >= chunkSize {
		return p
	}
	j.buf = append(j.buf[:0], p...)
	for _, f := range frames[1:] {
		w := v.wireAt(f, now)
		p := v.bytesOf(w)
		if len(j.buf)+len(p) > chunkSize {
			break
		}
		j.buf = append(j.buf, p...)
		j.wires = append(j.wires, w)
	}
	return j.buf
}

// forget drops the encodings, which hold content.
func (j *joiner) forget() {
	clear(j.wires)
	j.wires = j.wires[:0]
}

// bytesOf returns the bytes of an encoding for the sink.
func (v *service) bytesOf(w *wire) []byte {
	if v.chunked {
		return w.chunk()
	}
	return w.block()
}

// write writes frames and flushes. It joins small frames into few writes. The error is
// errInvalidated if the rest must be read from the log again.
func (v *service) write(frames []*Frame, live bool) error {
	j := joiners.Get().(*joiner)
	defer func() { j.forget(); joiners.Put(j) }()
	for len(frames) > 0 {
		if err := v.alive(); err != nil {
			return err
		}
		if v.invalid.Load() {
			return errInvalidated
		}
		if p := j.join(v, frames, time.Now()); len(p) > 0 {
			if err := v.send(p); err != nil {
				return err
			}
		}
		n := len(j.wires)
		v.wrote(frames[:n], j.wires, live)
		frames = frames[n:]
	}
	return nil
}

// wireAt returns the encoding of a frame to be written at a time; an empty one if the stream must
// not write the frame.
func (v *service) wireAt(f *Frame, now time.Time) *wire {
	if v.lost(f) {
		return &wire{}
	}
	return v.hub.wireAt(f, now)
}

// wrote records that frames were written, encoded as wires; live means that they came from the
// queue and not from the log.
func (v *service) wrote(frames []*Frame, wires []*wire, live bool) {
	for _, f := range slices.Backward(frames) {
		if f.transient == 0 {
			v.position = f.event.Position
			v.lastEvent, v.moved = v.written, v.written
			break
		}
	}
	if v.hub.receipts != nil {
		v.deliver(frames, wires)
	}
	if !live {
		v.hub.opts.Observer.EventsReplayed(len(frames))
		return
	}
	for _, f := range frames {
		lag := v.written.Sub(f.event.At)
		switch {
		case f.transient == 0:
			v.hub.opts.Observer.EventDelivered(lag)
		case v.lost(f):
			v.hub.opts.Observer.TransientsDropped(1)
		default:
			v.hub.opts.Observer.TransientDelivered(lag)
		}
	}
}

// deliver reports the messages in written frames to the hub as delivered, if their senders get
// receipts.
func (v *service) deliver(frames []*Frame, wires []*wire) {
	var few [8]im.Delivery
	deliveries := few[:0]
	for i, f := range frames {
		if wires[i].tracked && f.sender != v.actor.User {
			deliveries = append(deliveries, f.delivery(v.actor.User))
		}
	}
	if len(deliveries) > 0 {
		v.hub.receipts.put(deliveries)
	}
}

// alive returns the reason why the stream has ended, nil if it has not.
func (v *service) alive() error {
	if v.ctx.Err() != nil {
		return context.Cause(v.ctx)
	}
	return v.endedBy(time.Now())
}

// sendBlock writes a block, which follows beginChunk in buf.
func (v *service) sendBlock(buf []byte) error {
	w := wireOf(endChunk(buf))
	return v.send(v.bytesOf(&w))
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

// panicked logs a panic and returns it as an error, which ends only this stream.
func (v *service) panicked(with any) error {
	v.hub.opts.Logger.Error("panic while a stream is written", faults.Panic(with)...)
	return faults.Recovered(with)
}
