package events

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/im"
)

// Events of the stream itself, which are not in the log.
const (
	// Ready opens every stream, and comes again after a long time without events.
	Ready im.EventType = "ready"
	// Reset means that the client has missed events that the log no longer has. The client must
	// read the state again.
	Reset im.EventType = "reset"
)

// Events of type [Transient].
const (
	// Command is a message that is not stored.
	Command im.EventType = "command"
	// StreamStarted and StreamEnded are about a data stream of a conversation.
	StreamStarted im.EventType = "stream.started"
	StreamEnded   im.EventType = "stream.ended"
)

// Encode appends the JSON of an event to dst and returns the result. cursor is the id of the
// event. Events of type [Ready] and [Reset] have nothing but Position, Type and At.
type Encode func(dst []byte, e *im.Event, cursor string) []byte

// Frame is an event as streams write it. It is encoded once and shared by all streams that
// get it. Its encoding is replaced when its message is erased while streams still have to
// write it.
type Frame struct {
	// event has no Message: only wire holds content, so that replacing wire is enough.
	event  *im.Event
	about  im.ID     // the message that was encoded, 0 for none
	sender im.UserID // its sender
	// transient is the number of a transient event, 0 for events of the log. Such a frame
	// has no cursor, and its position means nothing.
	transient uint64
	wire      atomic.Pointer[wire]
	// selfErasure is the burn or expiry of the message, nil if it has neither.
	selfErasure atomic.Pointer[selfErasure]

	// holds counts the streams that still have to write the frame, and the callers that are
	// about to pass it to streams. At 0 the frame is removed from the [frameIndex], to
	// which the links belong.
	holds                     atomic.Int32
	ofMessage, ofConversation links
}

// wire is the encoding of a frame. The zero value is empty.
type wire struct {
	buf     []byte // buf[start:] is a chunk of HTTP/1.1: its size, the block, CRLF
	start   int
	tracked bool // writing it to the recipient of a message counts as delivery
	content bool // it has the content of a message
}

// chunkRoom is the number of bytes before a block in the buffer of its encoding: the size of the
// chunk in up to eight digits, and CRLF.
const chunkRoom = 10

// beginChunk appends room for the size of a chunk. A block and endChunk follow.
func beginChunk(dst []byte) []byte { return append(dst, "        \r\n"...) }

func endChunk(dst []byte) []byte { return append(dst, "\r\n"...) }

// newWire returns the encoding of an event whose chunk is buf. Like wireOf it keeps buf.
func newWire(e *im.Event, buf []byte) wire {
	w := wireOf(buf)
	w.content = e.Message != nil && e.Message.Content != nil
	w.tracked = e.Type == im.MessageCreated && e.Tracked && w.content
	return w
}

// wireOf returns an encoding whose chunk is buf, which the caller must not use again.
func wireOf(buf []byte) wire {
	var size [8]byte
	digits := strconv.AppendInt(size[:0], int64(len(buf)-chunkRoom-len("\r\n")), 16)
	w := wire{buf: buf, start: chunkRoom - len("\r\n") - len(digits)}
	copy(buf[w.start:], digits)
	return w
}

// block returns the event, which the caller must not change.
func (w *wire) block() []byte {
	if len(w.buf) == 0 {
		return nil
	}
	return w.buf[chunkRoom : len(w.buf)-len("\r\n")]
}

// chunk returns the event as a chunk of HTTP/1.1, which the caller must not change.
func (w *wire) chunk() []byte { return w.buf[w.start:] }

// selfErasure is the erasure of a message by its burn or expiry timer.
type selfErasure struct {
	at        time.Time
	tombstone im.Message
}

// newFrame returns the frame of an event of the log.
func (h *Hub) newFrame(e im.Event) *Frame {
	frames, _ := h.newFrames([]im.Event{e}, nil)
	return frames[0]
}

// newFrames returns the frames of events of the log, and the memory that their encodings share:
// room, if that is large enough. They are written together, and allocating each would take
// longer than encoding it. The frames keep the events, whose messages newFrames sets to nil.
func (h *Hub) newFrames(events []im.Event, room []byte) ([]*Frame, []byte) {
	frames, wires := make([]Frame, len(events)), make([]wire, len(events))
	list, ends := make([]*Frame, len(events)), make([]int, len(events))
	size := 0
	for i := range events {
		size += usualFrame
		if m := events[i].Message; m != nil && m.Content != nil {
			size += len(m.Content.Sent)
		}
	}
	buf := slices.Grow(room[:0], size)
	cursors := h.cursorsOf(events)
	for i := range events {
		e, f := &events[i], &frames[i]
		list[i], f.event = f, e
		if m := e.Message; m != nil {
			f.about, f.sender = m.ID, cmp.Or(m.Sender, e.Actor)
			if at, _, ok := m.Due(); ok {
				f.selfErasure.Store(&selfErasure{at: at, tombstone: m.AsOf(at)})
			}
		}
		buf = endChunk(h.appendEvent(beginChunk(buf), e, cursors[i*cursorLength:][:cursorLength]))
		ends[i] = len(buf)
	}
	from := 0
	for i := range events {
		wires[i] = newWire(&events[i], buf[from:ends[i]:ends[i]])
		frames[i].wire.Store(&wires[i])
		events[i].Message = nil
		from = ends[i]
	}
	return list, buf
}

// cursorsOf returns the texts of the cursors of events, one after another.
func (h *Hub) cursorsOf(events []im.Event) string {
	texts := make([]byte, 0, cursorLength*len(events))
	for i := range events {
		texts = h.cursorAt(events[i].Position).appendTo(texts)
	}
	return string(texts)
}

// usualFrame is the usual size of a frame without its content.
const usualFrame = 768

// encodeFrame encodes a frame with another message. Streams that have not written the frame yet
// write the new encoding.
func (h *Hub) encodeFrame(f *Frame, m *im.Message) {
	e := *f.event
	e.Message = m
	w := newWire(&e, endChunk(h.appendEvent(beginChunk(nil), &e, h.cursorAt(e.Position).String())))
	f.wire.Store(&w)
}

// appendEvent appends an event of the log as streams write it, with the text of its cursor.
func (h *Hub) appendEvent(dst []byte, e *im.Event, cursor string) []byte {
	dst = append(appendHead(dst, cursor, e.Type), dataField...)
	from := len(dst)
	dst = h.opts.Encode(dst, e, cursor)
	if lineBreak(dst[from:]) >= 0 {
		return appendData(dst[:from-len(dataField)], bytes.Clone(dst[from:]))
	}
	return append(dst, "\n\n"...)
}

// cursorAt returns the cursor of a position in this log.
func (h *Hub) cursorAt(at im.Position) Cursor { return Cursor{Log: h.opts.LogID, Position: at} }

// replaceByHeartbeat reduces the frame to a heartbeat, which only moves the cursor.
func (h *Hub) replaceByHeartbeat(f *Frame) {
	w := wireOf(endChunk(appendHeartbeat(beginChunk(nil), h.cursorAt(f.event.Position))))
	f.wire.Store(&w)
}

// current returns the latest encoding, which the caller must not change. Streams write
// what [Hub.wireAt] returns.
func (f *Frame) current() *wire { return f.wire.Load() }

// delivery returns the delivery of the frame to a user.
func (f *Frame) delivery(user im.UserID) im.Delivery {
	return im.Delivery{
		User: user, Conversation: f.event.Conversation,
		Range: im.SeqRange{From: f.event.Seq, To: f.event.Seq},
	}
}

// appendFrame appends an event in the format of server-sent events (WHATWG HTML, "Server-
// sent events"). With an empty id the client keeps its cursor. The id and the type must
// not have line breaks.
func appendFrame(dst []byte, id string, typ im.EventType, json []byte) []byte {
	return appendData(appendHead(dst, id, typ), json)
}

func appendHead(dst []byte, id string, typ im.EventType) []byte {
	if id != "" {
		dst = appendField(dst, "id: ", id)
	}
	return appendField(dst, "event: ", string(typ))
}

const dataField = "data: "

// appendData appends the data of an event, and its end. JSON on one line has no line breaks,
// but a stray one must not end the frame. CR, LF and CRLF end a line, and clients join lines
// of data with LF.
func appendData(dst, json []byte) []byte {
	for i := lineBreak(json); i >= 0; i = lineBreak(json) {
		dst = append(append(append(dst, dataField...), json[:i]...), '\n')
		if json[i] == '\r' && i+1 < len(json) && json[i+1] == '\n' {
			i++
		}
		json = json[i+1:]
	}
	return append(append(append(dst, dataField...), json...), "\n\n"...)
}

// lineBreak returns the index of the first CR or LF, -1 if there is none. Two searches for one byte
// each are many times as fast as one search for either.
func lineBreak(b []byte) int {
	i := bytes.IndexByte(b, '\n')
	if i >= 0 {
		b = b[:i]
	}
	if j := bytes.IndexByte(b, '\r'); j >= 0 {
		return j
	}
	return i
}

// An empty line ends a block. By the standard, a block without data dispatches no event,
// but many libraries call their handlers anyway. So every empty line of a stream ends an event with
// data, and the lines below are written without one: they become part of the block of the next
// event.

// appendHeartbeat appends a comment and a cursor, up to which there are no events for the
// client. A client that reads line by line stores the cursor at once. By the standard it
// takes effect with the event that ends the block, which has an id of its own.
func appendHeartbeat(dst []byte, c Cursor) []byte {
	dst = append(dst, ":\nid: "...)
	dst = c.appendTo(dst)
	return append(dst, '\n')
}

// appendRetry appends the time that a client has to wait before it reconnects. It takes effect
// without an empty line.
func appendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, d.Milliseconds(), 10)
	return append(dst, '\n')
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, '\n')
}
