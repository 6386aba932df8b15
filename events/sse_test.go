package events

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// sseEvent is what an EventSource would dispatch; with block set, it is the end of a block
// without data.
type sseEvent struct {
	id, event, data string
	block           bool
}

// sseParser interprets event streams by the WHATWG HTML standard (§9.2.6). It is written only from
// the text of the standard.
type sseParser struct {
	begun  bool
	cr     bool // the last line ended with CR, so a following LF belongs to it
	line   []byte
	idBuf  string
	lastID string
	event  string
	data   []byte
	retry  string
	fields bool
	out    []sseEvent
	beats  int // comments
}

func (p *sseParser) Write(b []byte) {
	if !p.begun && len(b) > 0 {
		p.begun = true
		b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	}
	for _, c := range b {
		switch {
		case c == '\n' && p.cr:
			p.cr = false
		case c == '\n' || c == '\r':
			p.cr = c == '\r'
			p.endLine(string(p.line))
			p.line = p.line[:0]
		default:
			p.cr = false
			p.line = append(p.line, c)
		}
	}
}

func (p *sseParser) endLine(line string) {
	if line == "" {
		p.dispatch()
		return
	}
	name, value, colon := strings.Cut(line, ":")
	if colon && name == "" {
		p.beats++
		return
	}
	value = strings.TrimPrefix(value, " ")
	p.fields = true
	switch name {
	case "event":
		p.event = value
	case "data":
		p.data = append(append(p.data, value...), '\n')
	case "id":
		if !strings.Contains(value, "\x00") {
			p.idBuf = value
		}
	case "retry":
		if strings.Trim(value, "0123456789") == "" {
			p.retry = value
		}
	}
}

func (p *sseParser) dispatch() {
	p.lastID = p.idBuf
	e := sseEvent{id: p.lastID, event: p.event, data: string(p.data)}
	if e.data == "" {
		if p.fields {
			p.out = append(p.out, sseEvent{id: p.lastID, block: true})
		}
	} else {
		e.data = strings.TrimSuffix(e.data, "\n")
		if e.event == "" {
			e.event = "message"
		}
		p.out = append(p.out, e)
	}
	p.event, p.data, p.fields = "", nil, false
}

func (p *sseParser) take() []sseEvent {
	out := p.out
	p.out = nil
	return out
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"text":"hi"}`), int64(1))
	f.Add([]byte("a\rb\nc\r\nd\n\re"), int64(2))
	f.Add([]byte("\x00 \u2028 \u2029 \xff"), int64(3))
	f.Add([]byte(" leading"), int64(4))
	f.Add([]byte("\n\nid: x\nevent: y\n\n"), int64(5))
	f.Add([]byte("\xef\xbb\xbf"), int64(6))
	f.Add([]byte(""), int64(7))
	f.Add([]byte("\r"), int64(8))
	newlines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
	f.Fuzz(func(t *testing.T, data []byte, position int64) {
		id := Cursor{Log: 1, Position: 42}.String()
		stream := appendRetry(nil, time.Second)
		stream = append(stream, appendFrame(nil, id, "message.created", data)...)
		stream = append(stream, appendFrame(nil, "", "command", data)...)
		stream = appendHeartbeat(stream, Cursor{Log: 1, Position: 43})
		stream = append(stream, appendFrame(nil, "", "command", data)...)
		var p sseParser
		// Write it in two parts, divided anywhere.
		cut := int(uint64(position) % uint64(len(stream)+1))
		p.Write(stream[:cut])
		p.Write(stream[cut:])
		text := newlines.Replace(string(data))
		want := []sseEvent{
			{id: id, event: "message.created", data: text},
			{id: id, event: "command", data: text},
			{id: Cursor{Log: 1, Position: 43}.String(), event: "command", data: text},
		}
		got := p.take()
		if len(got) != len(want) {
			t.Fatalf("%q reads as %+v, want %+v", stream, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%q reads as %+v, want %+v", stream, got[i], want[i])
			}
		}
		if p.retry != "1000" {
			t.Errorf("retry %q", p.retry)
		}
	})
}
