package datastreams

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// Encoding is the form of a request body.
type Encoding uint8

// The encodings.
const (
	// OneJSON is one frame as a JSON object.
	OneJSON Encoding = iota + 1
	// Lines are frames as JSON lines.
	Lines
	// Binary are frames in the binary form.
	Binary
)

// Decoder reads frames from a request body.
type Decoder struct {
	in   *bufio.Reader
	form Encoding
	most int // the maximum size of the body of a frame, in bytes
	line int // the maximum size of a JSON line, in bytes

	inFrame func(bool)
	take    func(bytes int) error
	read    int // frames read, or begun
	text    []byte
}

// decoderBuffer is the size of the buffer of a decoder.
const decoderBuffer = 16 << 10

// NewDecoder returns a decoder of frames whose bodies have at most maxBody bytes. The decoder calls
// inFrame with true before it reads within a frame and, except for OneJSON, with false before it
// waits for the next frame. Before it allocates more memory for a frame than a connection uses
// anyway, it calls take with the number of additional bytes; if take returns an error, Next returns
// that error. The caller releases the bytes when it is done with the frame.
func NewDecoder(body io.Reader, form Encoding, maxBody int, inFrame func(bool), take func(bytes int) error) *Decoder {
	return &Decoder{
		in: bufio.NewReaderSize(body, decoderBuffer), form: form, most: maxBody, line: 2*maxBody + 1024,
		inFrame: inFrame, take: take,
	}
}

// Next returns the next frame, and io.EOF after the last one. For a frame that is malformed,
// truncated or too large it returns a refusal that names the frame. Another error of the body is a
// [*ReadError] within a frame, and is returned unchanged between frames.
func (d *Decoder) Next() (Payload, error) {
	switch d.form {
	case Binary:
		return d.nextBinary()
	case Lines:
		return d.nextLine()
	default:
		return d.nextOnly()
	}
}

// begin waits for the first byte of a frame.
func (d *Decoder) begin() error {
	d.inFrame(false)
	if _, err := d.in.Peek(1); err != nil {
		return err
	}
	d.inFrame(true)
	return nil
}

func (d *Decoder) nextBinary() (Payload, error) {
	if err := d.begin(); err != nil {
		return Payload{}, err
	}
	d.read++
	var header [headerSize]byte
	if n, err := io.ReadFull(d.in, header[:]); err != nil {
		return Payload{}, d.cutOff(err, "%d of the %d bytes of its header", n, headerSize)
	}
	size := binary.BigEndian.Uint32(header[:])
	if uint64(size) > uint64(d.most) {
		return Payload{}, d.tooLarge("has %d bytes", size)
	}
	if size > decoderBuffer {
		if err := d.take(int(size)); err != nil {
			return Payload{}, err
		}
	}
	p := newPayload(header[4], Bytes, int(size))
	if n, err := io.ReadFull(d.in, p.body()); err != nil {
		return Payload{}, d.cutOff(err, "%d of its %d bytes", n, size)
	}
	return p, nil
}

func (d *Decoder) nextLine() (Payload, error) {
	for {
		if err := d.begin(); err != nil {
			return Payload{}, err
		}
		d.text = d.text[:0]
		d.read++
		ended, err := d.readText('\n')
		if err != nil {
			return Payload{}, err
		}
		text := bytes.TrimSpace(d.text)
		if len(text) == 0 {
			d.read--
			continue
		}
		p, err := d.parse(text)
		if err != nil && ended && len(d.text) > 0 && d.text[len(d.text)-1] != '\n' {
			// A line without a line break at its end may be truncated.
			return Payload{}, d.malformed("is cut off, or malformed: %v", reason(err))
		}
		d.shrink()
		return p, err
	}
}

// shrink frees the memory of a long line.
func (d *Decoder) shrink() {
	if cap(d.text) > decoderBuffer {
		d.text = nil
	}
}

func (d *Decoder) nextOnly() (Payload, error) {
	if d.read > 0 {
		return Payload{}, io.EOF
	}
	d.inFrame(true)
	d.read++
	for {
		ended, err := d.readText('\n')
		if err != nil {
			return Payload{}, err
		}
		if ended {
			break
		}
	}
	return d.parse(bytes.TrimSpace(d.text))
}

// readText appends to d.text through the next delimiter, or to the end of the body if there is no
// delimiter. ended is true at the end of the body.
func (d *Decoder) readText(delim byte) (ended bool, err error) {
	for {
		part, err := d.in.ReadSlice(delim)
		if len(d.text)+len(part) > d.line {
			return false, d.tooLarge("is a JSON text of over %d bytes", d.line)
		}
		if need := len(d.text) + len(part); need > cap(d.text) {
			size := max(2*cap(d.text), need)
			if size > decoderBuffer {
				if err := d.take(size - cap(d.text)); err != nil {
					return false, err
				}
			}
			d.text = append(make([]byte, 0, size), d.text...)
		}
		d.text = append(d.text, part...)
		switch {
		case err == nil:
			return false, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return true, nil
		default:
			return false, d.cutOff(err, "%d bytes", len(d.text))
		}
	}
}

// parse reads a JSON frame.
func (d *Decoder) parse(text []byte) (Payload, error) {
	if fault := jsonscan.Fault(text); fault != "" {
		return Payload{}, d.malformed("%s", fault)
	}
	if !jsonscan.IsObject(text) {
		return Payload{}, d.malformed("is not an object")
	}
	var (
		p     Payload
		dtype uint64
	)
	forms := 0
	err := jsonscan.Members(text, func(name string, v []byte) (err error) {
		switch name {
		case "dtype":
			if dtype, err = strconv.ParseUint(string(v), 10, 8); err != nil {
				return d.malformed("dtype is not an integer from 0 to 255")
			}
			return nil
		case "text":
			p, err = d.parseText(v)
		case "json":
			var b bytes.Buffer
			if err := json.Compact(&b, v); err != nil { // an event needs it on one line
				return d.malformed("json cannot be read")
			}
			p, err = d.payload(JSON, b.Bytes())
		case "base64":
			p, err = d.parseBase64(v)
		default:
			return d.malformed("%q is not a known member", im.ClipField(name))
		}
		forms++
		return err
	})
	switch {
	case err != nil:
		return Payload{}, err
	case forms != 1:
		return Payload{}, d.malformed("must have exactly one of text, json and base64")
	}
	p.DType, p.binary[4] = byte(dtype), byte(dtype)
	return p, nil
}

func (d *Decoder) parseText(v []byte) (Payload, error) {
	if v[0] != '"' {
		return Payload{}, d.malformed("text is not a string")
	}
	s, err := jsonscan.Unquote(v)
	if err != nil {
		return Payload{}, d.malformed("text cannot be read")
	}
	return d.payload(Text, []byte(s))
}

func (d *Decoder) parseBase64(v []byte) (Payload, error) {
	if v[0] != '"' {
		return Payload{}, d.malformed("base64 is not a string")
	}
	s, err := jsonscan.Unquote(v)
	if err != nil {
		return Payload{}, d.malformed("base64 cannot be read")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return Payload{}, d.malformed("base64 is not base64 with padding")
	}
	return d.payload(Bytes, b)
}

func (d *Decoder) payload(form Form, body []byte) (Payload, error) {
	if len(body) > d.most {
		return Payload{}, d.tooLarge("has %d bytes", len(body))
	}
	return NewPayload(0, form, body), nil
}

// field names the frame at fault.
func (d *Decoder) field() string { return fmt.Sprintf("frames/%d", d.read) }

func (d *Decoder) malformed(format string, args ...any) error {
	return im.RefuseField(im.Invalid, "malformed_frame", d.field(), format, args...)
}

func (d *Decoder) tooLarge(format string, args ...any) error {
	return im.RefuseField(im.TooLarge, "frame_too_large", d.field(), format+", over the limit of %d", append(args, d.most)...)
}

// cutOff returns the refusal of a frame that ends early, and a [*ReadError] for any other error.
func (d *Decoder) cutOff(err error, format string, args ...any) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return d.malformed("is cut off after "+format, args...)
	}
	return &ReadError{Frame: d.field(), Err: err}
}

// ReadError is an error of the body within a frame, such as a timeout.
type ReadError struct {
	Frame string // the field that names the frame, such as frames/3
	Err   error
}

// Error returns the error with the frame.
func (e *ReadError) Error() string { return e.Frame + ": " + e.Err.Error() }

// Unwrap returns the error of the body.
func (e *ReadError) Unwrap() error { return e.Err }

// reason returns what a refusal says.
func reason(err error) string {
	if refusal, ok := im.AsError(err); ok {
		return refusal.Message
	}
	return err.Error()
}
