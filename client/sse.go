package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"
)

// maxBlock is the maximum size of a block of a stream, in bytes. Messages have a few KiB.
const maxBlock = 4 << 20

// maxRetry is the maximum reconnection time that a server can set.
const maxRetry = time.Hour

// errBlockTooLarge ends the iteration. After a reconnect the server would send the same
// block again.
var errBlockTooLarge = errors.New("client: the stream has a block that is too large")

// block is a block of an event stream, up to an empty line.
type block struct {
	// id is the value of the last id field, if hasID.
	id    string
	hasID bool
	event string
	// data holds the values of all data fields, joined by line feeds, if hasData. It is
	// valid until the next block.
	data    []byte
	hasData bool
}

// parser reads an event stream (HTML standard, §9.2.6). Lines end with CR, LF or CRLF. It
// skips a byte order mark at the start, comments and unknown fields, and drops a last
// block without an empty line after it.
type parser struct {
	in *bufio.Reader
	// retry is the last reconnection time that the server set, if hasRetry. It applies
	// even if its block never ends.
	retry    time.Duration
	hasRetry bool

	begun  bool
	skipLF bool // the previous line ended with CR, so a LF now belongs to that line
	line   []byte
	data   []byte
}

func newParser(in io.Reader) *parser { return &parser{in: bufio.NewReader(in)} }

// next returns the next block that has an id or data. The error is that of the reader,
// io.EOF at the end, or errBlockTooLarge.
func (p *parser) next() (block, error) {
	var b block
	p.data = p.data[:0]
	size := 0
	for {
		line, err := p.nextLine()
		if err != nil {
			return block{}, err
		}
		if size += len(line); size > maxBlock {
			return block{}, errBlockTooLarge
		}
		if len(line) > 0 {
			p.field(&b, line)
			continue
		}
		if b.hasID || b.hasData {
			b.data = p.data
			return b, nil
		}
		b, size = block{}, 0
	}
}

// field adds a line that is not empty to a block.
func (p *parser) field(b *block, line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "": // a comment
	case "event":
		b.event = text(value)
	case "data":
		if b.hasData {
			p.data = append(p.data, '\n')
		}
		p.data = append(p.data, value...)
		b.hasData = true
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			b.id, b.hasID = text(value), true
		}
	case "retry":
		if wait, ok := milliseconds(value); ok {
			p.retry, p.hasRetry = wait, true
		}
	}
}

// nextLine returns the next line without its end. After a CR it does not wait for a LF.
func (p *parser) nextLine() ([]byte, error) {
	p.line = p.line[:0]
	for {
		if _, err := p.in.Peek(1); err != nil {
			return nil, err
		}
		chunk, _ := p.in.Peek(p.in.Buffered())
		if p.skipLF {
			p.skipLF = false
			if chunk[0] == '\n' {
				_, _ = p.in.Discard(1)
				continue
			}
		}
		end := bytes.IndexAny(chunk, "\r\n")
		if end < 0 {
			p.line = append(p.line, chunk...)
			_, _ = p.in.Discard(len(chunk))
			if len(p.line) > maxBlock {
				return nil, errBlockTooLarge
			}
			continue
		}
		p.line = append(p.line, chunk[:end]...)
		p.skipLF = chunk[end] == '\r'
		_, _ = p.in.Discard(end + 1)
		if !p.begun {
			p.begun = true
			p.line = bytes.TrimPrefix(p.line, []byte("\xef\xbb\xbf"))
		}
		return p.line, nil
	}
}

// text decodes UTF-8 like a browser: invalid bytes become U+FFFD.
func text(value []byte) string { return strings.ToValidUTF8(string(value), "\ufffd") }

// milliseconds parses a number of milliseconds that has only digits. It returns at most maxRetry.
func milliseconds(value []byte) (time.Duration, bool) {
	if len(value) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), maxRetry.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, true
}
