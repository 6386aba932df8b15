package im

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// canonicalValue returns the canonical form of any JSON value but null.
func canonicalValue(field string, raw json.RawMessage) (json.RawMessage, error) {
	return appendCanonical(make([]byte, 0, len(raw)), field, raw)
}

// appendCanonicalObject appends the canonical form of a JSON object: members sorted by name, no
// white space, numbers as written. With it a retry that is encoded differently is still recognised
// as the same message. It refuses a value that is not an object. A value that is known to be
// canonical is copied.
func appendCanonicalObject(into []byte, field string, raw json.RawMessage, isCanonical bool) ([]byte, error) {
	switch {
	case !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")):
		return into, RefuseField(Invalid, "invalid_request", field, "must be a JSON object")
	case isCanonical:
		return append(into, raw...), nil
	}
	return appendCanonical(into, field, raw)
}

// appendCanonical appends what canonicalValue returns.
func appendCanonical(into []byte, field string, raw json.RawMessage) ([]byte, error) {
	c := canonical{in: raw, out: into}
	c.members = c.few[:0]
	if c.next() == 'n' || !c.value(0) || c.next() != 0 || c.at < len(raw) {
		return into, RefuseField(Invalid, "invalid_request", field, "must be a JSON value")
	}
	if c.beyond {
		return into, RefuseField(Invalid, "invalid_request", field, "has a number beyond the range of a double")
	}
	return c.out, nil
}

// canonical writes the canonical form of a JSON text and checks its syntax, as strictly as
// encoding/json, in one pass. It decodes nothing: a decoded list of empty objects takes a
// hundred times the memory of its text.
type canonical struct {
	in  []byte
	at  int
	out []byte
	// beyond is set if there was a number that common parsers cannot represent (RFC 7493
	// §2.2): a client that cannot parse one message would lose the whole page it is on.
	beyond bool

	few     [16]span
	members []span // the members of all open objects, the innermost last
	names   []byte // their names, unquoted
	sorted  []byte // scratch space to sort the members of an object
}

// span is a member: its name as a range of names, and the whole member, name and colon included, as
// a range of out.
type span struct{ name, nameEnd, from, to int32 }

// maxNesting is the maximum depth of nested JSON, as in encoding/json.
const maxNesting = 10_000

// next skips white space and returns what follows; 0 at the end.
func (c *canonical) next() byte {
	for ; c.at < len(c.in); c.at++ {
		switch b := c.in[c.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// value writes the next value. It returns false if the syntax is wrong or the nesting too deep.
func (c *canonical) value(depth int) bool {
	if depth > maxNesting {
		return false
	}
	switch b := c.next(); b {
	case '{':
		return c.object(depth)
	case '[':
		return c.list(depth)
	case '"':
		from := len(c.out)
		c.out = append(c.out, '"')
		for c.at++; ; {
			// Most strings are copied as they are.
			c.out = c.plain(c.out)
			if c.at < len(c.in) && c.in[c.at] == '"' {
				c.at++
				c.out = append(c.out, '"')
				return true
			}
			var one [utf8.UTFMax]byte
			char, ok := c.char(one[:0])
			if !ok {
				c.out = c.out[:from]
				return false
			}
			c.out = quoteTo(c.out, char)
		}
	case 't':
		return c.literal("true")
	case 'f':
		return c.literal("false")
	case 'n':
		return c.literal("null")
	default:
		return (b == '-' || b >= '0' && b <= '9') && c.number()
	}
}

// plain appends the characters of a string that follow and stay the same in the canonical form.
func (c *canonical) plain(into []byte) []byte {
	from := c.at
	for c.at < len(c.in) {
		switch b := c.in[c.at]; {
		case b < ' ' || b == '"' || b == '\\':
			return append(into, c.in[from:c.at]...)
		case b < utf8.RuneSelf:
			c.at++
		default:
			r, n := utf8.DecodeRune(c.in[c.at:])
			if r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029' {
				return append(into, c.in[from:c.at]...)
			}
			c.at += n
		}
	}
	return append(into, c.in[from:]...)
}

func (c *canonical) literal(text string) bool {
	if !bytes.HasPrefix(c.in[c.at:], []byte(text)) {
		return false
	}
	c.at += len(text)
	c.out = append(c.out, text...)
	return true
}

func (c *canonical) number() bool {
	from := c.at
	digits := func() bool {
		first := c.at
		for c.at < len(c.in) && c.in[c.at] >= '0' && c.in[c.at] <= '9' {
			c.at++
		}
		return c.at > first
	}
	is := func(set string) bool {
		if c.at < len(c.in) && strings.IndexByte(set, c.in[c.at]) >= 0 {
			c.at++
			return true
		}
		return false
	}
	is("-")
	if !is("0") && !digits() {
		return false
	}
	short := c.at-from < 300
	if is(".") && !digits() {
		return false
	}
	if is("eE") {
		short = false
		if is("+-"); !digits() {
			return false
		}
	}
	number := c.in[from:c.at]
	if !short {
		_, err := strconv.ParseFloat(string(number), 64)
		c.beyond = c.beyond || err != nil
	}
	c.out = append(c.out, number...)
	return true
}

func (c *canonical) list(depth int) bool {
	c.at++
	c.out = append(c.out, '[')
	if c.next() == ']' {
		c.at++
		c.out = append(c.out, ']')
		return true
	}
	for c.value(depth + 1) {
		switch b := c.next(); b {
		case ',', ']':
			c.at++
			if c.out = append(c.out, b); b == ']' {
				return true
			}
		default:
			return false
		}
	}
	return false
}

// object writes an object. If members have the same name, the last one counts.
func (c *canonical) object(depth int) bool {
	c.at++
	c.out = append(c.out, '{')
	first, names, begin := len(c.members), len(c.names), len(c.out)
	inOrder, empty := true, c.next() == '}'
	if empty {
		c.at++
	}
	for last := empty; !last; {
		m := span{name: int32(len(c.names)), from: int32(len(c.out))}
		var ok bool
		if c.next() != '"' {
			return false
		}
		if c.names, ok = c.text(c.names); !ok || c.next() != ':' {
			return false
		}
		c.at++
		m.nameEnd = int32(len(c.names))
		c.out = append(AppendQuoted(c.out, c.names[m.name:]), ':')
		if !c.value(depth + 1) {
			return false
		}
		m.to = int32(len(c.out))
		switch c.next() {
		case ',':
		case '}':
			last = true
		default:
			return false
		}
		c.at++
		c.out = append(c.out, ',')
		if n := len(c.members); n > first && c.compare(c.members[n-1], m) >= 0 {
			inOrder = false
		}
		if len(c.members) == cap(c.members) {
			c.members = slices.Grow(c.members, mostOpen(c.in)-len(c.members))
		}
		c.members = append(c.members, m)
	}
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
	return true
}

func (c *canonical) compare(a, b span) int {
	return bytes.Compare(c.names[a.name:a.nameEnd], c.names[b.name:b.nameEnd])
}

// text appends the text of a JSON string. It returns false if the syntax is wrong.
func (c *canonical) text(into []byte) ([]byte, bool) {
	for c.at++; c.at < len(c.in); {
		into = c.plain(into)
		if c.at < len(c.in) && c.in[c.at] == '"' {
			c.at++
			return into, true
		}
		var ok bool
		if into, ok = c.char(into); !ok {
			return into, false
		}
	}
	return into, false
}

// char appends the next character of a string, as encoding/json reads it: U+FFFD for bytes
// that are not UTF-8. It returns false if the syntax is wrong.
func (c *canonical) char(into []byte) ([]byte, bool) {
	if c.at >= len(c.in) {
		return into, false
	}
	switch b := c.in[c.at]; {
	case b == '\\':
		return c.escape(into)
	case b < ' ':
		return into, false
	case b < utf8.RuneSelf:
		c.at++
		return append(into, b), true
	default:
		r, n := utf8.DecodeRune(c.in[c.at:])
		c.at += n
		return utf8.AppendRune(into, r), true
	}
}

// escape appends the character of an escape.
func (c *canonical) escape(into []byte) ([]byte, bool) {
	if c.at+1 >= len(c.in) {
		return into, false
	}
	switch b := c.in[c.at+1]; b {
	case '"', '\\', '/':
		c.at += 2
		return append(into, b), true
	case 'u':
	default:
		i := strings.IndexByte("bfnrt", b)
		if i < 0 {
			return into, false
		}
		c.at += 2
		return append(into, "\b\f\n\r\t"[i]), true
	}
	r, ok := c.hex()
	if !ok {
		return into, false
	}
	if utf16.IsSurrogate(r) {
		before := c.at
		second, ok := c.hex()
		if r = utf16.DecodeRune(r, second); !ok || r == unicode.ReplacementChar {
			r, c.at = unicode.ReplacementChar, before // the second escape may be a character by itself
		}
	}
	return utf8.AppendRune(into, r), true
}

// hex reads \u and four digits. If there are none, it reads nothing and returns false.
func (c *canonical) hex() (rune, bool) {
	if len(c.in)-c.at < len(`\u0000`) || c.in[c.at] != '\\' || c.in[c.at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, b := range c.in[c.at+2 : c.at+6] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b|' ' >= 'a' && b|' ' <= 'f':
			b = b | ' ' - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	c.at += 6
	return r, true
}

// AppendQuoted appends a text as a JSON string, without escapes for HTML.
func AppendQuoted[T ~string | ~[]byte](into []byte, text T) []byte {
	return append(quoteTo(append(into, '"'), text), '"')
}

// quoteTo is AppendQuoted without the quotes.
func quoteTo[T ~string | ~[]byte](into []byte, text T) []byte {
	const digits = "0123456789abcdef"
	copied := 0 // up to where the text is in into
	for i := 0; i < len(text); {
		b := text[i]
		if b >= ' ' && b < utf8.RuneSelf && b != '"' && b != '\\' {
			i++
			continue
		}
		into = append(into, text[copied:i]...)
		switch {
		case b == '"' || b == '\\':
			into = append(into, '\\', b)
		case b < ' ':
			if j := bytes.IndexByte([]byte("\b\f\n\r\t"), b); j >= 0 {
				into = append(into, '\\', "bfnrt"[j])
			} else {
				into = append(into, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
			}
		default:
			r, n := utf8.DecodeRuneInString(string(text[i:min(i+utf8.UTFMax, len(text))]))
			if r == '\u2028' || r == '\u2029' { // line terminators in JavaScript
				into = append(into, '\\', 'u', '2', '0', '2', digits[r&15])
			} else {
				into = utf8.AppendRune(into, r) // U+FFFD for invalid UTF-8
			}
			i += n - 1
		}
		i++
		copied = i
	}
	return append(into, text[copied:]...)
}

// mostOpen returns an upper bound on the members that are open at once.
func mostOpen(text []byte) (n int) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
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

// AppendText appends the text of a valid JSON string, which has its quotes.
func AppendText(into, text []byte) []byte {
	into, _ = (&canonical{in: text}).text(into)
	return into
}

// CanonicalSize returns the length of the canonical form of a valid JSON text in bytes, without
// building it. It counts all members of the same name, although the canonical form has only the
// last one.
func CanonicalSize(text []byte) (n int) {
	c := canonical{in: text}
	var one, quoted [6]byte
	for c.at < len(text) {
		switch text[c.at] {
		case ' ', '\t', '\r', '\n':
			c.at++
		case '"':
			n += 2
			for c.at++; text[c.at] != '"'; {
				char, ok := c.char(one[:0])
				if !ok {
					return n // it is not valid
				}
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
