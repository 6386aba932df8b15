package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// MaxLine is the maximum length of a line of an import, in bytes.
const MaxLine = 1 << 20

// readBuffer is the number of bytes that are read at once. A line that fits is not copied.
const readBuffer = 64 << 10

// Reader reads the lines of an import. It is not safe for concurrent use.
type Reader struct {
	in   *bufio.Reader
	long []byte // a line that does not fit into the buffer of in
}

// NewReader returns a reader of the lines of r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, readBuffer)} }

// Next returns the next line without the white space around it, which leaves nothing of a
// blank line. The bytes are valid until the next call. The error is [bufio.ErrTooLong] for
// a line longer than [MaxLine], which is skipped, [io.EOF] with the last line, which may be blank,
// or the error of the underlying reader, with the part of the line that was read.
func (r *Reader) Next() ([]byte, error) {
	line, err := r.next()
	return bytes.Trim(line, " \t\r\n"), err
}

func (r *Reader) next() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	r.long = append(r.long[:0], line...)
	tooLong := false
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.in.ReadSlice('\n')
		if tooLong = tooLong || len(r.long)+len(bytes.TrimSuffix(line, []byte{'\n'})) > MaxLine; !tooLong {
			r.long = append(r.long, line...)
		}
	}
	if tooLong && (err == nil || errors.Is(err, io.EOF)) {
		return nil, bufio.ErrTooLong // at the end of the input, the next call returns io.EOF
	}
	return r.long, err
}

// Ready reports whether Next can return a line without reading.
func (r *Reader) Ready() bool {
	b, _ := r.in.Peek(r.in.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}
