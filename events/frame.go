package events

import (
	"bytes"
	"cmp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/imapi/imapi/im"
)

// The events of the stream itself. They are in no log.
const (
	// Ready opens every stream, and comes again when there was no event for long.
	Ready im.EventType = "ready"
	// Reset says that events were missed which the log no longer has: the
	// client must read the state anew.
	Reset im.EventType = "reset"
)

// Encode makes the JSON of an event. The cursor is the event's id in the
// envelope, "" for one that has none. Events of type [Ready] and [Reset] have
// nothing but Position, Type and At.
type Encode func(e im.Event, cursor string) ([]byte, error)

// Frame is an event as it goes over the wire. It is made once and shared by all
// streams that are told it.
type Frame struct {
	// event has no Message: what is told of it is in wire alone, so that there
	// is one place to replace it.
	event im.Event
	// about is the message that wire was made with, 0 for none, and sender who
	// sent it.
	about  im.ID
	sender im.UserID
	wire   atomic.Pointer[wire]
	// lapse is when the message erases itself, nil if it does not.
	lapse atomic.Pointer[lapse]

	// holds is how many there are to whom the frame is still to be written, or
	// who are about to hand it to such; see [waiting], which the others are of.
	holds                     atomic.Int32
	ofMessage, ofConversation links
}

// wire is what is written of a frame.
type wire struct {
	bytes []byte
	// tracked is set if who is written this has got a message whose sender is
	// to be told so.
	tracked bool
	// content is set if this tells what a message says.
	content bool
}

// lapse is what becomes of a message without anybody doing anything.
type lapse struct {
	at        time.Time
	tombstone im.Message
}

// newFrame encodes an event of the log.
func (h *Hub) newFrame(e im.Event) (*Frame, error) {
	m := e.Message
	f := &Frame{event: e}
	f.event.Message = nil
	if m != nil {
		f.about, f.sender = m.ID, cmp.Or(m.Sender, e.Actor)
		if at, _, ok := m.Due(); ok {
			f.lapse.Store(&lapse{at: at, tombstone: m.AsOf(at)})
		}
	}
	if err := h.encodeFrame(f, m); err != nil {
		return nil, err
	}
	return f, nil
}

// encodeFrame encodes a frame with a message, nil for none. Streams that have not written
// the frame yet write what it encodes.
func (h *Hub) encodeFrame(f *Frame, m *im.Message) error {
	e := f.event
	e.Message = m
	cursor, data, err := h.encode(e)
	if err != nil {
		return err
	}
	content := m != nil && m.Content != nil
	f.wire.Store(&wire{
		bytes:   appendFrame(nil, cursor, e.Type, data),
		tracked: e.Type == im.MessageCreated && e.Tracked && content,
		content: content,
	})
	return nil
}

// encode encodes an event under its cursor. All frames and pages are made by it.
func (h *Hub) encode(e im.Event) (cursor string, data []byte, err error) {
	cursor = h.cursorAt(e.Position).String()
	data, err = h.opts.Encode(e, cursor)
	return cursor, data, err
}

// cursorAt returns the cursor of a position in this log.
func (h *Hub) cursorAt(at im.Position) Cursor { return Cursor{Log: h.opts.LogID, Position: at} }

// replaceByHeartbeat has the frame move the cursor and nothing else.
func (h *Hub) replaceByHeartbeat(f *Frame) {
	f.wire.Store(&wire{bytes: appendHeartbeat(nil, h.cursorAt(f.event.Position))})
}

// now returns the frame as it was made last. It is shared: the caller must not
// change it. What is written is what [Hub.wireAt] returns.
func (f *Frame) now() *wire { return f.wire.Load() }

// delivery says that a user was written the frame.
func (f *Frame) delivery(user im.UserID) im.Delivery {
	return im.Delivery{
		User: user, Conversation: f.event.Conversation,
		Range: im.SeqRange{From: f.event.Seq, To: f.event.Seq},
	}
}

// appendFrame appends an event in the format of the WHATWG's event stream. An
// empty id leaves the client's cursor where it is. The id and the type must
// have no line breaks, as those of this package have not.
func appendFrame(dst []byte, id string, typ im.EventType, data []byte) []byte {
	if dst == nil {
		dst = make([]byte, 0, len("id: \nevent: \ndata: \n\n")+len(id)+len(typ)+len(data))
	}
	if id != "" {
		dst = appendField(dst, "id: ", id)
	}
	dst = appendField(dst, "event: ", string(typ))
	// JSON has no raw line breaks, but a stray one must not end the frame: the
	// format has CR, LF and CRLF end a line, and joins data lines with LF.
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

// Many libraries hand over whatever an empty line ends, also where the standard has
// nothing dispatched for want of data. So every empty line of a stream ends an event
// that has some, and what follows stands before the next event, in its block.

// appendHeartbeat appends a comment and the cursor up to which there is nothing to
// tell. Clients that go by lines take the cursor at once; others, as the standard
// has it, with the event that ends the block, which has one of its own.
func appendHeartbeat(dst []byte, c Cursor) []byte {
	dst = append(dst, ":\nid: "...)
	dst = c.appendTo(dst)
	return append(dst, '\n')
}

// appendRetry appends a line that says how long a client is to wait before it
// connects again. It counts at once, without an empty line.
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
