package im

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// canonicalObject returns the one text of a JSON object: members sorted by
// name, no white space, numbers as they were written, so that a retry that
// was encoded anew is seen to be the same.
func canonicalObject(field string, raw json.RawMessage) (json.RawMessage, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) {
		return nil, RefuseField(Invalid, "invalid_request", field, "must be a JSON object")
	}
	return canonicalValue(field, raw)
}

// canonicalValue is canonicalObject for any value but null.
func canonicalValue(field string, raw json.RawMessage) (json.RawMessage, error) {
	if !json.Valid(raw) || bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("null")) {
		return nil, RefuseField(Invalid, "invalid_request", field, "must be a JSON value")
	}
	c := canonical{in: raw, out: make([]byte, 0, len(raw)), members: make([]span, 0, mostOpen(raw))}
	c.value()
	if c.beyond {
		return nil, RefuseField(Invalid, "invalid_request", field, "has a number beyond the range of a double")
	}
	return c.out, nil
}

// canonical writes a valid JSON text as canonicalObject has it. It decodes nothing into
// values: of what some bytes make, such as empty objects in a list, those take a
// hundred times as many.
type canonical struct {
	in  []byte
	at  int
	out []byte
	// beyond says that there was a number that readers cannot hold (RFC 7493 §2.2):
	// one message that they cannot parse would cost them the whole page it is on.
	beyond bool

	members []span // of the objects that are open, those of the innermost last
	names   []byte // theirs, without escapes
	sorted  []byte // for putting the members of an object in order
}

// span is a member: where its name is in names, and where it is in out, with name and
// colon.
type span struct{ name, nameEnd, from, to int32 }

func (c *canonical) next() byte {
	for {
		switch b := c.in[c.at]; b {
		case ' ', '\t', '\r', '\n', ',', ':':
			c.at++
		default:
			return b
		}
	}
}

// value writes the value that begins next.
func (c *canonical) value() {
	switch c.next() {
	case '{':
		c.object()
	case '[':
		c.at++
		c.out = append(c.out, '[')
		for first := true; c.next() != ']'; first = false {
			if !first {
				c.out = append(c.out, ',')
			}
			c.value()
		}
		c.at++
		c.out = append(c.out, ']')
	case '"':
		c.out = append(c.out, '"')
		var one [utf8.UTFMax]byte
		for c.at++; c.in[c.at] != '"'; {
			c.out = quoteTo(c.out, c.char(one[:0]))
		}
		c.at++
		c.out = append(c.out, '"')
	default:
		from := c.at
		for c.at < len(c.in) && bytes.IndexByte([]byte(" \t\r\n,]}"), c.in[c.at]) < 0 {
			c.at++
		}
		literal := c.in[from:c.at]
		if literal[0] == '-' || literal[0] >= '0' && literal[0] <= '9' {
			_, err := strconv.ParseFloat(string(literal), 64)
			c.beyond = c.beyond || err != nil
		}
		c.out = append(c.out, literal...)
	}
}

// object writes an object. Of members with one name the last one counts.
func (c *canonical) object() {
	c.at++
	c.out = append(c.out, '{')
	first, names, begin := len(c.members), len(c.names), len(c.out)
	inOrder := true
	for c.next() != '}' {
		m := span{name: int32(len(c.names)), from: int32(len(c.out))}
		c.names = c.text(c.names)
		m.nameEnd = int32(len(c.names))
		c.out = append(AppendQuoted(c.out, c.names[m.name:]), ':')
		c.value()
		m.to = int32(len(c.out))
		c.out = append(c.out, ',')
		if n := len(c.members); n > first && c.compare(c.members[n-1], m) >= 0 {
			inOrder = false
		}
		c.members = append(c.members, m)
	}
	c.at++
	if !inOrder {
		own := c.members[first:]
		slices.SortStableFunc(own, c.compare)
		c.sorted = slices.Grow(c.sorted[:0], max(len(c.out)-begin, min(len(c.in), 2*cap(c.sorted))))
		for i, m := range own {
			if i+1 == len(own) || c.compare(m, own[i+1]) != 0 {
				c.sorted = append(append(c.sorted, c.out[m.from:m.to]...), ',')
			}
		}
		c.out = append(c.out[:begin], c.sorted...)
	}
	if len(c.out) > begin {
		c.out = c.out[:len(c.out)-1] // the last comma
	}
	c.out = append(c.out, '}')
	c.members, c.names = c.members[:first], c.names[:names]
}

func (c *canonical) compare(a, b span) int {
	return bytes.Compare(c.names[a.name:a.nameEnd], c.names[b.name:b.nameEnd])
}

// text appends what the JSON string that begins here says.
func (c *canonical) text(into []byte) []byte {
	for c.at++; c.in[c.at] != '"'; {
		into = c.char(into)
	}
	c.at++
	return into
}

// char appends the next character of a string, as encoding/json reads it: for what is
// none there is U+FFFD.
func (c *canonical) char(into []byte) []byte {
	switch b := c.in[c.at]; {
	case b == '\\':
		return c.escape(into)
	case b < utf8.RuneSelf:
		c.at++
		return append(into, b)
	default:
		r, n := utf8.DecodeRune(c.in[c.at:])
		c.at += n
		return utf8.AppendRune(into, r)
	}
}

// escape appends the character whose escape begins here.
func (c *canonical) escape(into []byte) []byte {
	b := c.in[c.at+1]
	if b != 'u' {
		c.at += 2
		if i := bytes.IndexByte([]byte("bfnrt"), b); i >= 0 {
			b = "\b\f\n\r\t"[i]
		}
		return append(into, b)
	}
	r := c.hex()
	if utf16.IsSurrogate(r) {
		if c.in[c.at] != '\\' || c.in[c.at+1] != 'u' {
			return utf8.AppendRune(into, unicode.ReplacementChar)
		}
		before := c.at
		if r = utf16.DecodeRune(r, c.hex()); r == unicode.ReplacementChar {
			c.at = before // the second may be a character by itself
		}
	}
	return utf8.AppendRune(into, r)
}

// hex reads \u and four digits.
func (c *canonical) hex() rune {
	n, _ := strconv.ParseUint(string(c.in[c.at+2:c.at+6]), 16, 16) // a valid text has them
	c.at += 6
	return rune(n)
}

// AppendQuoted appends a text as a JSON string, as encoding/json writes it with HTML left
// as it is.
func AppendQuoted[T ~string | ~[]byte](into []byte, text T) []byte {
	return append(quoteTo(append(into, '"'), text), '"')
}

// quoteTo is AppendQuoted without the quotes.
func quoteTo[T ~string | ~[]byte](into []byte, text T) []byte {
	const digits = "0123456789abcdef"
	for i := 0; i < len(text); {
		switch b := text[i]; {
		case b == '"' || b == '\\':
			into = append(into, '\\', b)
		case b < ' ':
			if j := bytes.IndexByte([]byte("\b\f\n\r\t"), b); j >= 0 {
				into = append(into, '\\', "bfnrt"[j])
			} else {
				into = append(into, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
			}
		case b < utf8.RuneSelf:
			into = append(into, b)
		default:
			r, n := utf8.DecodeRuneInString(string(text[i:min(i+utf8.UTFMax, len(text))]))
			if r == '\u2028' || r == '\u2029' { // ends of lines in JavaScript
				into = append(into, '\\', 'u', '2', '0', '2', digits[r&15])
			} else {
				into = utf8.AppendRune(into, r) // U+FFFD for what is none
			}
			i += n
			continue
		}
		i++
	}
	return into
}

// mostOpen returns how many members the objects of a valid text have together.
func mostOpen(text []byte) (n int) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case ':':
			n++
		}
	}
	return n
}

// AppendText appends what a valid JSON string, with its quotes, says.
func AppendText(into, text []byte) []byte { return (&canonical{in: text}).text(into) }

// CanonicalSize returns how many bytes a valid JSON text takes in its canonical form,
// without making that; in which all members count, also those of one name.
func CanonicalSize(text []byte) (n int) {
	c := canonical{in: text}
	var one [6]byte
	for c.at < len(text) {
		switch text[c.at] {
		case ' ', '\t', '\r', '\n':
			c.at++
		case '"':
			n += 2
			for c.at++; text[c.at] != '"'; {
				char := c.char(one[:0])
				var quoted [6]byte
				n += len(quoteTo(quoted[:0], char))
			}
			c.at++
		default:
			c.at++
			n++
		}
	}
	return n
}
