package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// parsed is the output of a parser.
type parsed struct {
	blocks []string
	retry  time.Duration
	err    error
}

// comparesParsed are the options for comparing two values of parsed.
var comparesParsed = cmp.Options{cmp.AllowUnexported(parsed{}), cmpopts.EquateErrors()}

func parse(in io.Reader) parsed {
	p := newParser(in)
	var out parsed
	for {
		b, err := p.next()
		if err != nil {
			out.retry, out.err = p.retry, err
			return out
		}
		text := ""
		if b.hasID {
			text = fmt.Sprintf("id=%q ", b.id)
		}
		if b.event != "" {
			text += fmt.Sprintf("event=%q ", b.event)
		}
		if b.hasData {
			text += fmt.Sprintf("data=%q", b.data)
		}
		out.blocks = append(out.blocks, strings.TrimSpace(text))
	}
}

func TestParser(t *testing.T) {
	tests := map[string]struct {
		stream string
		want   []string
		retry  time.Duration
	}{
		"nothing":              {"", nil, 0},
		"a frame":              {"id: 1\nevent: a\ndata: x\n\n", []string{`id="1" event="a" data="x"`}, 0},
		"CRLF":                 {"id: 1\r\ndata: x\r\n\r\ndata: y\r\n\r\n", []string{`id="1" data="x"`, `data="y"`}, 0},
		"CR":                   {"id: 1\rdata: x\r\rdata: y\r\r", []string{`id="1" data="x"`, `data="y"`}, 0},
		"mixed":                {"data: x\r\ndata: y\n\rdata: z\r\n\n", []string{`data="x\ny"`, `data="z"`}, 0},
		"no space":             {"data:x\n\n", []string{`data="x"`}, 0},
		"two spaces":           {"data:  x\n\n", []string{`data=" x"`}, 0},
		"no colon":             {"data\n\n", []string{`data=""`}, 0},
		"empty data twice":     {"data\ndata\n\n", []string{`data="\n"`}, 0},
		"colon in value":       {"data: a:b: c\n\n", []string{`data="a:b: c"`}, 0},
		"comments":             {": hello\n\n:\n\ndata: x\n: between\ndata: y\n\n", []string{`data="x\ny"`}, 0},
		"unknown field":        {"colour: red\ndata: x\n\n", []string{`data="x"`}, 0},
		"case of names":        {"Data: x\nID: 1\ndata: y\n\n", []string{`data="y"`}, 0},
		"space before colon":   {"data : x\n\ndata: y\n\n", []string{`data="y"`}, 0},
		"byte order mark":      {"\ufeffdata: x\n\n", []string{`data="x"`}, 0},
		"a mark later on":      {"data: x\n\n\ufeffdata: y\n\n", []string{`data="x"`}, 0},
		"id alone":             {"id: 7\n\n", []string{`id="7"`}, 0},
		"empty id":             {"id\ndata: x\n\n", []string{`id="" data="x"`}, 0},
		"id with NUL":          {"id: a\x00b\ndata: x\n\n", []string{`data="x"`}, 0},
		"last id counts":       {"id: 1\nid: 2\ndata: x\n\n", []string{`id="2" data="x"`}, 0},
		"event alone":          {"event: a\n\ndata: x\n\n", []string{`data="x"`}, 0},
		"retry":                {"retry: 1500\n\n", nil, 1500 * time.Millisecond},
		"retry before end":     {"retry: 1500\n", nil, 1500 * time.Millisecond},
		"last retry":           {"retry: 1\nretry: 2\n\n", nil, 2 * time.Millisecond},
		"retry not a number":   {"retry: 5\nretry: 1.5\nretry: -1\nretry: +1\nretry: \nretry: x\n\n", nil, 5 * time.Millisecond},
		"retry without end":    {"retry: " + strings.Repeat("9", 100) + "\n\n", nil, time.Hour},
		"cut before the end":   {"data: x\n\nid: 2\ndata: y\n", []string{`data="x"`}, 0},
		"cut within a line":    {"data: x\n\nid: 2\ndata: y", []string{`data="x"`}, 0},
		"bad UTF-8 in an id":   {"id: \xff\n\n", []string{`id="�"`}, 0},
		"blocks do not mix":    {"id: 1\nevent: a\ndata: x\n\ndata: y\n\n", []string{`id="1" event="a" data="x"`, `data="y"`}, 0},
		"many empty lines":     {"\n\n\ndata: x\n\n\n\n", []string{`data="x"`}, 0},
		"line over a buffer":   {"data: " + strings.Repeat("x", 10_000) + "\n\n", []string{`data="` + strings.Repeat("x", 10_000) + `"`}, 0},
		"CR at a buffer's end": {":" + strings.Repeat("x", 4094) + "\r\ndata: x\r\n\r\n", []string{`data="x"`}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := parsed{tt.want, tt.retry, io.EOF}
			for name, r := range map[string]io.Reader{
				"whole":        strings.NewReader(tt.stream),
				"byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)),
			} {
				if diff := cmp.Diff(want, parse(r), comparesParsed); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestParserIsBounded(t *testing.T) {
	endless := func(line string) io.Reader {
		return io.MultiReader(strings.NewReader("id: 1\n"), &repeating{line: strings.Repeat(line, 1000)})
	}
	for name, in := range map[string]io.Reader{
		"a line without an end":  endless("x"),
		"a block without an end": endless("data: x\n"),
		"comments without a gap": endless(":\n:comment\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(in); !errors.Is(got.err, errBlockTooLarge) {
				t.Errorf("got %v", got.err)
			}
		})
	}
	t.Run("many blocks", func(t *testing.T) {
		in := io.LimitReader(&repeating{line: strings.Repeat(": comment\n\nevent: x\n\n", 1000)}, 3*maxBlock)
		if got := parse(in); !errors.Is(got.err, io.EOF) || got.blocks != nil {
			t.Errorf("got %v", got.err)
		}
	})
}

// repeating reads as one line repeated without end.
type repeating struct {
	line string
	at   int
}

func (r *repeating) Read(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(p[n:], r.line[r.at:])
		r.at = (r.at + m) % len(r.line)
		n += m
	}
	return n, nil
}

func TestParserDoesNotWaitAfterACarriageReturn(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	go func() { _, _ = io.WriteString(w, "data: x\r\r") }() // the connection stays open
	if b, err := newParser(r).next(); err != nil || string(b.data) != "x" {
		t.Errorf("got %q, %v", b.data, err)
	}
}

// FuzzParser checks that the sizes of reads make no difference, and that no block is
// empty.
func FuzzParser(f *testing.F) {
	f.Add([]byte("retry: 1\n\nid: 1\r\nevent: a\rdata: x\ndata\n\n: c\n\nid: 2\n\n"), uint8(3))
	f.Add([]byte("\xef\xbb\xbfdata: x\r\n\r\n"), uint8(1))
	f.Add([]byte("id: \x00\nid\n\r\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		whole := parse(bytes.NewReader(stream))
		cut := parse(&chunks{stream, int(size%16) + 1})
		if diff := cmp.Diff(whole, cut, comparesParsed); diff != "" {
			t.Errorf("pieces make a difference (-whole +in pieces):\n%s", diff)
		}
		if !errors.Is(whole.err, io.EOF) {
			t.Errorf("ended with %v", whole.err)
		}
		for _, b := range whole.blocks {
			if b == "" {
				t.Error("a block with neither id nor data")
			}
		}
	})
}

// chunks reads in pieces of one size.
type chunks struct {
	rest []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest[:min(c.size, len(c.rest))])
	c.rest = c.rest[n:]
	return n, nil
}

func BenchmarkParser(b *testing.B) {
	stream := strings.Repeat("id: 123\nevent: message.created\ndata: "+strings.Repeat("x", 400)+"\n\n", 1000)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		p := newParser(strings.NewReader(stream))
		for {
			if _, err := p.next(); err != nil {
				break
			}
		}
	}
}
