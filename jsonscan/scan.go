package jsonscan

import (
	"bytes"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/imapi/imapi/im"
)

// Result is the result of [Scan].
type Result struct {
	// Fault is what is wrong with the text, as the predicate of a sentence, such as "is not UTF-8".
	// It is "" for a valid text.
	Fault string
	// Values is the number of values in the text, itself included. Counting stops at one more than
	// mostValues.
	Values int
}

// Scan checks a text in one pass. It is as strict as encoding/json, and refuses three
// things that encoding/json accepts: bad UTF-8, which it would replace, nesting deeper than
// 64, and two members of the same name in an object. It takes some bytes of memory for each
// name, so it stops comparing names when the text holds more than mostValues values.
func Scan(text []byte, mostValues int) Result {
	s := scanner{text: text, most: mostValues}
	if len(text) == 0 {
		return Result{Fault: "is empty"}
	}
	ok := s.value(0)
	if ok {
		s.space()
		ok = s.at == len(text)
	}
	switch {
	case !ok && !utf8.Valid(text):
		s.fault = "is not UTF-8"
	case !ok && s.fault == "":
		s.fault = "is not one JSON value"
	case ok && s.values <= s.most && s.twice:
		s.fault = "has an object with two members of the same name"
	}
	return Result{Fault: s.fault, Values: s.values}
}

// Fault is [Scan] for a text with any number of values. It returns [Result.Fault].
func Fault(text []byte) string { return Scan(text, math.MaxInt).Fault }

// maxDepth is the maximum depth of nested JSON. Messages are small, so deeper nesting is an attack
// on recursive parsers.
const maxDepth = 64

// nameSpan is the position of a name in the text. If the name has escapes, it is the position of
// the unquoted name in scanner.unquote, and from is its bitwise complement.
type nameSpan struct{ from, to int32 }

type scanner struct {
	text   []byte
	at     int
	values int
	most   int
	fault  string
	twice  bool // whether two members of an object have one name

	few     [16]nameSpan
	names   []nameSpan // the names in all open objects, the innermost last
	unquote []byte     // names with escapes, unquoted
}

func (s *scanner) space() {
	for s.at < len(s.text) && IsSpace(s.text[s.at]) {
		s.at++
	}
}

// next skips white space and returns what follows; 0 at the end.
func (s *scanner) next() byte {
	if s.space(); s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// value reads the next value, at a depth of nesting. Like the methods below, it returns false for
// wrong syntax.
func (s *scanner) value(depth int) bool {
	if s.values <= s.most {
		s.values++
	}
	switch c := s.next(); c {
	case '{', '[':
		if depth == maxDepth {
			s.fault = "is nested too deeply"
			return false
		}
		if s.at++; c == '[' {
			return s.list(depth + 1)
		}
		return s.object(depth + 1)
	case '"':
		_, ok := s.string()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *scanner) list(depth int) bool {
	if s.next() == ']' {
		s.at++
		return true
	}
	for s.value(depth) {
		c := s.next()
		s.at++
		if c == ']' {
			return true
		}
		if c != ',' {
			return false
		}
	}
	return false
}

func (s *scanner) object(depth int) bool {
	if s.next() == '}' {
		s.at++
		return true
	}
	first, unquoted := len(s.names), len(s.unquote)
	for {
		if s.next() != '"' {
			return false
		}
		from := s.at
		escaped, ok := s.string()
		if !ok {
			return false
		}
		if s.values <= s.most && !s.twice {
			s.addName(from, escaped)
		}
		if s.next() != ':' {
			return false
		}
		s.at++
		if !s.value(depth) {
			return false
		}
		c := s.next()
		s.at++
		if c == ',' {
			continue
		}
		s.compare(s.names[first:])
		s.names, s.unquote = s.names[:first], s.unquote[:unquoted]
		return c == '}'
	}
}

func (s *scanner) addName(from int, escaped bool) {
	span := nameSpan{int32(from + 1), int32(s.at - 1)}
	if escaped {
		span.from = ^int32(len(s.unquote))
		s.unquote = im.AppendText(s.unquote, s.text[from:s.at])
		span.to = int32(len(s.unquote))
	}
	if s.names == nil {
		s.names = s.few[:0]
	}
	if len(s.names) == cap(s.names) {
		s.names = slices.Grow(s.names, 1+s.namesAhead())
	}
	s.names = append(s.names, span)
}

// namesAhead returns an upper bound on the number of names that follow, so that memory for them is
// allocated once instead of by doubling.
func (s *scanner) namesAhead() (n int) {
	for i := s.at; i < len(s.text); i++ {
		switch s.text[i] {
		case '"':
			i = EndOfString(s.text, i)
		case ':':
			n++
		}
	}
	const least = len(`"":0,`) // the length of the shortest member; not every colon in the text belongs to a member
	return min(n, (len(s.text)-s.at)/least+1, s.most)
}

func (s *scanner) name(span nameSpan) []byte {
	if span.from < 0 {
		return s.unquote[^span.from:span.to]
	}
	return s.text[span.from:span.to]
}

// compare records whether two names of an object are equal. It sorts only long lists of names.
func (s *scanner) compare(names []nameSpan) {
	if len(names) > 8 {
		slices.SortFunc(names, func(x, y nameSpan) int { return bytes.Compare(s.name(x), s.name(y)) })
		for i := 1; i < len(names); i++ {
			s.twice = s.twice || bytes.Equal(s.name(names[i-1]), s.name(names[i]))
		}
		return
	}
	for i, x := range names {
		for _, y := range names[:i] {
			s.twice = s.twice || bytes.Equal(s.name(x), s.name(y))
		}
	}
}

// string reads a string, and reports whether it has escapes.
func (s *scanner) string() (escaped, ok bool) {
	for s.at++; s.at < len(s.text); {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return escaped, true
		case c == '\\':
			escaped = true
			if !s.escape() {
				return escaped, false
			}
		case c < ' ':
			return escaped, false
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, n := utf8.DecodeRune(s.text[s.at:])
			if r == utf8.RuneError && n == 1 {
				return escaped, false
			}
			s.at += n
		}
	}
	return escaped, false
}

func (s *scanner) escape() bool {
	if s.at+1 >= len(s.text) {
		return false
	}
	switch s.text[s.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return true
	case 'u':
		if len(s.text)-s.at < len(`\u0000`) {
			return false
		}
		for _, c := range s.text[s.at+2 : s.at+6] {
			if (c < '0' || c > '9') && (c|' ' < 'a' || c|' ' > 'f') {
				return false
			}
		}
		s.at += 6
		return true
	default:
		return false
	}
}

func (s *scanner) literal(text string) bool {
	if !bytes.HasPrefix(s.text[s.at:], []byte(text)) {
		return false
	}
	s.at += len(text)
	return true
}

func (s *scanner) number() bool {
	s.skip('-', '-')
	if !s.skip('0', '0') && !s.digits() {
		return false
	}
	if s.skip('.', '.') && !s.digits() {
		return false
	}
	if s.skip('e', 'E') {
		s.skip('+', '-')
		return s.digits()
	}
	return true
}

// skip reads one of two bytes, and reports whether it did.
func (s *scanner) skip(this, that byte) bool {
	if s.at == len(s.text) || s.text[s.at] != this && s.text[s.at] != that {
		return false
	}
	s.at++
	return true
}

// digits reads digits, and reports whether there was at least one.
func (s *scanner) digits() bool {
	from := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > from
}
