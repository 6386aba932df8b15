package datastreams

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/im"
)

// Sink is the destination of a reader. Both methods return an error if they block for too long.
type Sink interface {
	// Write writes p. It must not keep or change p.
	Write(p []byte) error
	// Flush sends buffered data to the client.
	Flush() error
}

// From is the frame with which a reader begins: an id, Oldest or Now.
type From int64

// Oldest begins with the oldest frame of the buffer, Now with the next one that is pushed.
const (
	Oldest From = 0
	Now    From = -1
)

// ErrGap ends a reader of the binary form that has lost frames.
var ErrGap = errors.New("frames lost")

// Reader is one response that reads a data stream.
type Reader struct {
	attached
	hub    *Hub
	binary bool
	wake   chan struct{} // holds a token when there is something to do

	next  int64 // the id of the next frame to take; guarded by stream.mu
	waits bool  // whether it is in stream.waiting; guarded by stream.mu
	late  bool  // it was opened after the end of the data stream, so it gets no frames
	// writing is the age of the hub when the current write began, 0 if there is none.
	writing atomic.Int64

	written time.Time
	batch   []*frame
}

// Read opens a reader. The caller must call [Reader.Serve] or [Reader.Close]. It refuses an
// unknown data stream, an actor who may not read, and one more request than the limits allow. For a
// minute after a data stream has ended, a new reader gets no frames, only how it ended.
func (h *Hub) Read(ctx context.Context, c Client, id im.DataStreamID, from From, binary bool) (*Reader, error) {
	s, err := h.find(id)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		attached: attached{actor: c.Actor, issuedAt: c.IssuedAt, expiresAt: c.ExpiresAt},
		hub:      h, binary: binary, wake: make(chan struct{}, 1),
	}
	r.attached.reader = r
	if err := h.attach(ctx, s, &r.attached, (*im.DataStream).AllowRead); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.late = s.end != nil; {
	case from == Now, from == Oldest && r.late:
		r.next = s.next()
	case from == Oldest:
		r.next = s.first
	default:
		r.next = int64(from)
	}
	s.taken = min(s.taken, r.next)
	return r, nil
}

// First returns the id of the first frame that the reader will write, unless more are lost.
func (r *Reader) First() int64 {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	r.next = max(r.next, r.from())
	return r.next
}

// from returns the id of the oldest frame that the reader can still get. The caller holds
// stream.mu.
func (r *Reader) from() int64 {
	if r.late {
		return r.stream.next()
	}
	return r.stream.first
}

// Close removes the reader from its data stream.
func (r *Reader) Close() { r.hub.detach(&r.attached) }

func (r *Reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// stuck reports whether a write takes too long for publishers to wait for this reader.
func (r *Reader) stuck() bool {
	began := time.Duration(r.writing.Load())
	return began != 0 && r.hub.age()-began > r.hub.stuck
}

// chunkSize is the maximum number of bytes that are joined for one write.
const chunkSize = 64 << 10

// chunks are buffers for joining frames. A waiting reader has none.
var chunks = sync.Pool{New: func() any {
	b := make([]byte, 0, chunkSize)
	return &b
}}

// Serve writes frames until the data stream ends, and removes the reader. It returns how the data
// stream ended, or an error: [ErrTokenExpired] or [ErrTokenCut] if the token ended, [ErrGap], a
// refusal if the actor has lost the right to read, the cause if ctx ended, or the error of the
// sink.
func (r *Reader) Serve(ctx context.Context, sink Sink) (*End, error) {
	defer r.Close()
	var open []byte
	if !r.binary {
		open = append(open, "retry: "...)
		open = strconv.AppendInt(open, r.hub.opts.Retry.Milliseconds(), 10)
		open = append(open, '\n')
	}
	if err := r.write(sink, open); err != nil {
		return nil, err
	}
	timer := time.NewTimer(r.hub.opts.Heartbeat)
	defer timer.Stop()
	for {
		lost, last, end, err := r.take()
		switch {
		case err != nil:
			return nil, err
		case lost > 0 && r.binary:
			r.hub.lost.Add(lost)
			return nil, ErrGap
		case lost > 0 || len(r.batch) > 0:
			r.hub.lost.Add(lost)
			if err := r.writeBatch(sink, lost, last); err != nil {
				return nil, err
			}
			continue
		case end != nil && r.binary:
			return end, r.write(sink, nil) // sets a new deadline for the server to end the body
		case end != nil:
			return end, r.write(sink, appendEnded(nil, end))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-r.wake:
		case <-timer.C:
			if err := r.heartbeat(sink, last); err != nil {
				return nil, err
			}
			timer.Reset(max(time.Until(r.written.Add(r.hub.opts.Heartbeat)), 0))
		}
	}
}

// heartbeat writes a heartbeat if one is due. The binary form has none.
func (r *Reader) heartbeat(sink Sink, last int64) error {
	if r.binary || time.Since(r.written) < r.hub.opts.Heartbeat {
		if r.binary {
			r.written = time.Now()
		}
		return nil
	}
	return r.write(sink, appendHeartbeat(nil, last))
}

// take moves the next frames to the batch. It returns the number of frames lost before them, the id
// of the frame before them, and how the data stream ended if nothing more will come.
func (r *Reader) take() (lost, last int64, end *End, err error) {
	s := r.stream
	clear(r.batch)
	r.batch = r.batch[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.err != nil {
		return 0, 0, nil, r.err
	}
	if from := r.from(); r.next < from {
		lost = from - r.next
		r.next = from
	}
	last = r.next - 1
	for size := 0; r.next < s.next() && size < chunkSize; r.next++ {
		f := s.at(r.next)
		size += 2 * len(f.binary)
		r.batch = append(r.batch, f)
	}
	if len(r.batch) == 0 && lost == 0 {
		if s.end != nil {
			return 0, last, s.end.as(r.actor.User), nil
		}
		if cap(r.batch) > 16 {
			r.batch = nil // free the memory, because most readers wait most of the time
		}
		if !r.waits {
			r.waits = true
			s.waiting = append(s.waiting, r)
		}
	}
	return lost, last, nil, nil
}

// writeBatch writes the batch, after the event for the frames that were lost before it.
func (r *Reader) writeBatch(sink Sink, lost, last int64) error {
	p := chunks.Get().(*[]byte)
	defer chunks.Put(p)
	buf := (*p)[:0]
	if lost > 0 {
		buf = appendGap(buf, lost, last)
	}
	r.writing.Store(int64(r.hub.age()))
	defer r.writing.Store(0)
	for _, f := range r.batch {
		b := f.binary
		if !r.binary {
			var first bool
			if b, first = f.event(); first {
				r.stream.encoded(f, len(b))
			}
		}
		if len(buf)+len(b) > cap(buf) {
			if err := sink.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
			if len(b) > cap(buf) {
				if err := sink.Write(b); err != nil {
					return err
				}
				continue
			}
		}
		buf = append(buf, b...)
	}
	if len(buf) > 0 {
		if err := sink.Write(buf); err != nil {
			return err
		}
	}
	if err := sink.Flush(); err != nil {
		return err
	}
	r.written = time.Now()
	r.hub.delivered.Add(int64(len(r.batch)))
	return nil
}

func (r *Reader) write(sink Sink, b []byte) error {
	r.writing.Store(int64(r.hub.age()))
	defer r.writing.Store(0)
	if len(b) > 0 {
		if err := sink.Write(b); err != nil {
			return err
		}
	}
	r.written = time.Now()
	return sink.Flush()
}
