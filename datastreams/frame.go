package datastreams

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"sync/atomic"

	"github.com/imapi/imapi/im"
)

// Form is how a frame was pushed, and how readers of the event stream get it.
type Form uint8

// The forms.
const (
	Text Form = iota + 1
	JSON
	Bytes
)

// headerSize is the size of the header of a frame in the binary form: the length of the body
// in 4 bytes, big-endian, and the dtype.
const headerSize = 5

// frameOverhead is the approximate memory that a frame takes besides its encodings, in bytes.
const frameOverhead = 160

// Payload is a frame to push.
type Payload struct {
	DType byte
	Form  Form
	// binary is the frame in the binary form.
	binary []byte
}

// NewPayload returns a payload with a copy of body.
func NewPayload(dtype byte, form Form, body []byte) Payload {
	p := newPayload(dtype, form, len(body))
	copy(p.body(), body)
	return p
}

func newPayload(dtype byte, form Form, size int) Payload {
	b := make([]byte, headerSize+size)
	binary.BigEndian.PutUint32(b, uint32(size)) // bounded by MaxFrameBytes
	b[4] = dtype
	return Payload{DType: dtype, Form: form, binary: b}
}

func (p Payload) body() []byte { return p.binary[headerSize:] }

// Size returns the size of the body.
func (p Payload) Size() int { return len(p.binary) - headerSize }

// cost is the number of bytes that the frame counts against the rate of its user. A frame without a
// body costs the server about as much as one with frameOverhead bytes, and counts as much.
func (p Payload) cost() int { return frameOverhead + p.Size() }

// frame is a frame in a buffer. It is encoded once for all readers.
type frame struct {
	Payload
	id   int64
	from []byte // the user, as JSON
	sse  atomic.Pointer[[]byte]
	// size is the memory that it takes. guess is the part of size that is an estimate for the
	// event, until that is encoded. The lock of the stream guards them.
	size, guess int
}

// event returns the frame as an event, and true if it was encoded by this call.
func (f *frame) event() ([]byte, bool) {
	if p := f.sse.Load(); p != nil {
		return *p, false
	}
	b := f.appendEvent()
	if !f.sse.CompareAndSwap(nil, &b) {
		return *f.sse.Load(), false
	}
	return b, true
}

// eventSize estimates the size of the event in bytes. The estimate is too low only if characters
// are escaped.
func (f *frame) eventSize() int {
	size := len(f.body())
	if f.Form == Bytes {
		size = base64.StdEncoding.EncodedLen(size)
	}
	return size + len(f.from) + 96
}

func (f *frame) appendEvent() []byte {
	body := f.body()
	b := make([]byte, 0, f.eventSize())
	b = append(b, "id: "...)
	b = strconv.AppendInt(b, f.id, 10)
	b = append(b, "\nevent: stream.frame\ndata: {\"id\":"...)
	b = strconv.AppendInt(b, f.id, 10)
	b = append(b, `,"from":`...)
	b = append(b, f.from...)
	b = append(b, `,"dtype":`...)
	b = strconv.AppendInt(b, int64(f.DType), 10)
	switch f.Form {
	case Text:
		b = append(b, `,"text":`...)
		b = im.AppendQuoted(b, string(body))
	case JSON:
		b = append(b, `,"json":`...)
		b = append(b, body...) // on one line, see the decoder
	case Bytes:
		b = append(b, `,"base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, body)
		b = append(b, '"')
	}
	return append(b, "}\n\n"...)
}

// appendGap appends the event with the number of lost frames. last is the id of the last one.
func appendGap(b []byte, lost, last int64) []byte {
	b = append(b, "id: "...)
	b = strconv.AppendInt(b, last, 10)
	b = append(b, "\nevent: stream.gap\ndata: {\"lost\":"...)
	b = strconv.AppendInt(b, lost, 10)
	return append(b, "}\n\n"...)
}

func appendEnded(b []byte, e *End) []byte {
	b = append(b, "event: stream.ended\ndata: {\"reason\":\""...)
	b = append(b, e.Reason.String()...)
	b = append(b, '"')
	if e.Message != 0 {
		b = append(b, `,"message_id":"`...)
		b = e.Message.Append(b)
		b = append(b, '"')
	}
	return append(b, "}\n\n"...)
}

// appendHeartbeat appends a comment and the id of the last frame, if there is one, without an
// empty line, so that no library takes it for an event.
func appendHeartbeat(b []byte, last int64) []byte {
	b = append(b, ":\n"...)
	if last > 0 {
		b = append(b, "id: "...)
		b = strconv.AppendInt(b, last, 10)
		b = append(b, '\n')
	}
	return b
}
