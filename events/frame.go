package events

import (
	"bytes"
	"cmp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/im"
)

// Events of the stream itself, which are not in the log.
const (
	// Ready opens every stream, and comes again after a long time without events.
	Ready im.EventType = "ready"
	// Reset says that the client has missed events which the log no longer has. The
	// client must read the state again.
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

// Encode returns the JSON of an event. cursor is the id of the event. Events of type
// [Ready] and [Reset] have nothing but Position, Type and At.
type Encode func(e im.Event, cursor string) []byte

// Frame is an event as streams write it. It is encoded once and shared by all streams that
// get it. Its encoding is replaced when its message is erased while streams still have to
// write it.
type Frame struct {
	// event has no Message: wire alone holds content, so that replacing wire is enough.
	event  im.Event
	about  im.ID     // the message that was encoded, 0 for none
	sender im.UserID // its sender
	// transient is the number of a transient event, 0 for events of the log. Such a frame
	// has no cursor, and its position means nothing.
	transient uint64
	wire      atomic.Pointer[wire]
	// selfErasure says when the message burns or expires, nil if it does not.
	selfErasure atomic.Pointer[selfErasure]

	// holds counts the streams that still have to write the frame, and the callers that are
	// about to pass it to streams. At 0 the frame is removed from the [frameIndex], to
	// which the links belong.
	holds                     atomic.Int32
	ofMessage, ofConversation links
}

// wire is the encoding of a frame.
type wire struct {
	bytes   []byte
	tracked bool // writing it to the recipient of a message counts as delivery
	content bool // it has the content of a message
}

// selfErasure is the erasure of a message by its burn or expiry timer.
type selfErasure struct {
	at        time.Time
	tombstone im.Message
}

// newFrame returns the frame of an event of the log.
func (h *Hub) newFrame(e im.Event) *Frame {
	m := e.Message
	f := &Frame{event: e}
	f.event.Message = nil
	if m != nil {
		f.about, f.sender = m.ID, cmp.Or(m.Sender, e.Actor)
		if at, _, ok := m.Due(); ok {
			f.selfErasure.Store(&selfErasure{at: at, tombstone: m.AsOf(at)})
		}
	}
	h.encodeFrame(f, m)
	return f
}

// encodeFrame encodes a frame with a message, nil for none. Streams that have not written
// the frame yet write what it encodes.
func (h *Hub) encodeFrame(f *Frame, m *im.Message) {
	e := f.event
	e.Message = m
	cursor, data := h.encode(e)
	content := m != nil && m.Content != nil
	f.wire.Store(&wire{
		bytes:   appendFrame(nil, cursor, e.Type, data),
		tracked: e.Type == im.MessageCreated && e.Tracked && content,
		content: content,
	})
}

// encode encodes an event of the log and returns its cursor, too.
func (h *Hub) encode(e im.Event) (cursor string, data []byte) {
	cursor = h.cursorAt(e.Position).String()
	return cursor, h.opts.Encode(e, cursor)
}

// cursorAt returns the cursor of a position in this log.
func (h *Hub) cursorAt(at im.Position) Cursor { return Cursor{Log: h.opts.LogID, Position: at} }

// replaceByHeartbeat has the frame move the cursor and nothing else.
func (h *Hub) replaceByHeartbeat(f *Frame) {
	f.wire.Store(&wire{bytes: appendHeartbeat(nil, h.cursorAt(f.event.Position))})
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
func appendFrame(dst []byte, id string, typ im.EventType, data []byte) []byte {
	if dst == nil {
		dst = make([]byte, 0, len("id: \nevent: \ndata: \n\n")+len(id)+len(typ)+len(data))
	}
	if id != "" {
		dst = appendField(dst, "id: ", id)
	}
	dst = appendField(dst, "event: ", string(typ))
	// JSON on one line has no line breaks, but a stray one must not end the frame. CR,
	// LF and CRLF end a line, and clients join lines of data with LF.
	for {
		i := bytes.IndexAny(data, "\r\n")
		if i < 0 {
			break
		}
		dst = append(dst, "data: "...)
		dst = append(dst, data[:i]...)
		dst = append(dst, '\n')
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
	dst = append(dst, "data: "...)
	dst = append(dst, data...)
	return append(dst, "\n\n"...)
}

// An empty line ends a block. By the standard, a block without data dispatches no event,
// but many libraries call their handlers all the same. So every empty line of a stream
// ends an event with data, and the lines below are written without one: they become part
// of the block of the next event.

// appendHeartbeat appends a comment and a cursor, up to which there are no events for the
// client. A client that reads line by line stores the cursor at once. By the standard it
// takes effect with the event that ends the block, which has an id of its own.
func appendHeartbeat(dst []byte, c Cursor) []byte {
	dst = append(dst, ":\nid: "...)
	dst = c.appendTo(dst)
	return append(dst, '\n')
}

// appendRetry appends how long a client has to wait before it connects again. It takes
// effect without an empty line.
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
