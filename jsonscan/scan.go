package jsonscan

import (
	"bytes"
	"math"
	"slices"
	"strconv"
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
	// Value is the value. It is set for a valid text of at most mostValues values.
	Value Value
}

// Scan checks a text in one pass, in which it also records where the values in it are. It is as
// strict as encoding/json, and refuses three things that encoding/json accepts: bad UTF-8, which it
// would replace, nesting deeper than 64, and two members of the same name in an object. It takes 12
// bytes of memory for each value and 20 for each name, so it stops recording values and comparing
// names when the text holds more than mostValues values.
func Scan(text []byte, mostValues int) Result {
	s := scanner{index: index{text: text}, most: mostValues}
	s.nodes = s.fewNodes[:0]
	result := s.scan()
	if result.Fault == "" && result.Values <= mostValues {
		result.Value = Value{&s.index, 0}
	}
	return result
}

// Fault is [Scan] for a text with any number of values, without recording them. It returns
// [Result.Fault].
func Fault(text []byte) string {
	s := scanner{index: index{text: text}, most: math.MaxInt}
	return s.scan().Fault
}

func (s *scanner) scan() Result {
	if len(s.text) == 0 {
		return Result{Fault: "is empty"}
	}
	ok := s.value(0)
	if ok {
		s.next()
		ok = s.at == len(s.text)
	}
	switch {
	case !ok && !utf8.Valid(s.text):
		s.fault = "is not UTF-8"
	case !ok && s.fault == "":
		s.fault = "is not one JSON value"
	case ok && s.values <= s.most && s.twice:
		s.fault = "has an object with two members of the same name"
	}
	return Result{Fault: s.fault, Values: s.values}
}

// maxDepth is the maximum depth of nested JSON. Messages are small, so deeper nesting is an attack
// on recursive parsers.
const maxDepth = 64

// nameSpan is the position of a name in the text. If the name has escapes, it is the position of
// the unquoted name in scanner.unquote, and from is its bitwise complement.
type nameSpan struct{ from, to int32 }

type scanner struct {
	index  // nodes is nil if values are not recorded
	at     int
	values int
	most   int
	fault  string
	twice  bool // whether two members of an object have one name
	// canonical is whether what has been read of the innermost open value is canonical JSON.
	canonical bool

	fewNodes [32]node
	few      [16]nameSpan
	names    []nameSpan // the names in all open objects, the innermost last
	unquote  []byte     // names with escapes, unquoted
}

// next skips white space and returns what follows; 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; !IsSpace(c) {
			return c
		}
		s.canonical = false
	}
	return 0
}

// value reads the next value, at a depth of nesting. Like the methods below, it returns false for
// wrong syntax.
func (s *scanner) value(depth int) bool {
	if s.values <= s.most {
		s.values++
	}
	c := s.next()
	around := s.canonical
	s.canonical = true
	i := s.record(node{from: int32(s.at)})
	ok := s.valueOf(c, depth)
	if i >= 0 {
		n := &s.nodes[i]
		n.to, n.after = int32(s.at), int32(2*len(s.nodes))
		if s.canonical {
			n.after++
		}
	}
	s.canonical = s.canonical && around
	return ok
}

// record appends a node, and returns its index, or -1 if nodes are not recorded.
func (s *scanner) record(n node) int {
	if s.nodes == nil || s.values > s.most {
		return -1
	}
	if len(s.nodes) == cap(s.nodes) {
		s.nodes = append(make([]node, 0, len(s.nodes)+1+s.nodesAhead()), s.nodes...)
	}
	s.nodes = append(s.nodes, n)
	return len(s.nodes) - 1
}

// nodesAhead returns an upper bound on the number of nodes that follow a new one, so that memory for
// them is allocated once instead of by doubling.
func (s *scanner) nodesAhead() (n int) {
	for i := s.at; i < len(s.text); i++ {
		switch s.text[i] {
		case '"':
			i = EndOfString(s.text, i)
		case ':', ',':
			n++
		case '{', '[':
			if i+1 < len(s.text) && s.text[i+1] != s.text[i]+2 { // the bracket that closes an empty one
				n++
			}
		}
	}
	const least = len(`0,`) // of the text of a node
	return min(n, (len(s.text)-s.at)/least+1, 2*min(s.most, len(s.text)))
}

// valueOf reads the value that begins with c.
func (s *scanner) valueOf(c byte, depth int) bool {
	switch c {
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
	first, unquoted, inOrder := len(s.names), len(s.unquote), true
	for {
		if s.next() != '"' {
			return false
		}
		from := s.at
		escaped, ok := s.string()
		if !ok {
			return false
		}
		s.record(node{from: int32(from), to: int32(s.at)})
		if s.values <= s.most && !s.twice {
			s.addName(from, escaped)
			if n := len(s.names); n > first+1 && bytes.Compare(s.name(s.names[n-2]), s.name(s.names[n-1])) >= 0 {
				inOrder = false
			}
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
		if !inOrder {
			s.canonical = false
			s.compare(s.names[first:])
		}
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
		s.names = append(make([]nameSpan, 0, len(s.names)+1+s.namesAhead()), s.names...)
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
			s.canonical = s.canonical && r != '\u2028' && r != '\u2029'
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
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return true
	case '/':
		s.canonical = false
		s.at += 2
		return true
	case 'u':
		if len(s.text)-s.at < len(`\u0000`) {
			return false
		}
		digits := s.text[s.at+2 : s.at+6]
		for _, c := range digits {
			if (c < '0' || c > '9') && (c|' ' < 'a' || c|' ' > 'f') {
				return false
			}
		}
		s.canonical = s.canonical && isCanonicalEscape(string(digits))
		s.at += 6
		return true
	default:
		return false
	}
}

// isCanonicalEscape reports whether canonical JSON has a character as an escape of four digits:
// control characters without a shorter escape, and line terminators of JavaScript.
func isCanonicalEscape(digits string) bool {
	switch digits {
	case "2028", "2029":
		return true
	case "0008", "0009", "000a", "000c", "000d":
		return false
	}
	return digits < "0020" && digits[3] >= '0' && (digits[3] <= '9' || digits[3] >= 'a')
}

func (s *scanner) literal(text string) bool {
	if !bytes.HasPrefix(s.text[s.at:], []byte(text)) {
		return false
	}
	s.at += len(text)
	return true
}

func (s *scanner) number() bool {
	from := s.at
	s.skip('-', '-')
	if !s.skip('0', '0') && !s.digits() {
		return false
	}
	inRange := s.at-from < 300
	if s.skip('.', '.') && !s.digits() {
		return false
	}
	if s.skip('e', 'E') {
		inRange = false
		if s.skip('+', '-'); !s.digits() {
			return false
		}
	}
	if !inRange { // of a double, as canonical JSON requires, as far as its length tells
		_, err := strconv.ParseFloat(string(s.text[from:s.at]), 64)
		s.canonical = s.canonical && err == nil
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
