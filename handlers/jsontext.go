package handlers

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/imapi/imapi/im"
)

// What encoding/json lets pass and a contract must not: nesting without end,
// and two members of one name, of which the validator sees one and whoever
// decodes the body later may see the other.

// maxDepth is how deep JSON may be nested. Messages are small; more than this
// is an attack on whoever parses it later.
const maxDepth = 64

// depth returns how deep the brackets of a JSON text are nested, whether or
// not it is valid.
func depth(b []byte) int {
	deepest, now := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		}
	}
	return deepest
}

// endOfString returns where the string that begins at i ends: at its closing
// quote, or at the end of a text that has none.
func endOfString(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}

// count returns how many values a valid JSON text holds, itself included, and how
// many of them have names.
func count(b []byte) (n, named int) {
	n = 1
	empty := false // whether nothing came since a bracket was opened
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case isSpace(c):
			continue
		case c == '"':
			i = endOfString(b, i)
		case c == ':':
			named++
		case c == ',':
			n++
		case c == ']' || c == '}':
			if !empty {
				n++ // the last one in it, which no comma follows
			}
		}
		empty = b[i] == '[' || b[i] == '{'
	}
	return n, named
}

// nameSpan is where the name of a member is: in the text, or, if it was written with
// escapes, among those that were read; from is its complement then.
type nameSpan struct{ from, to int32 }

// hasDuplicates reports whether an object in a valid JSON text has two members
// of one name, however that is escaped. The text has so many names in all; it takes some
// bytes of memory for each, whatever its objects hold.
func hasDuplicates(b []byte, named int) bool {
	var (
		open  []int // of each open object, how many names there were before it; -1 for a list
		read  []byte
		name  bool                         // whether a string here is a name
		names = make([]nameSpan, 0, named) // of all open objects, those of the innermost last
	)
	text := func(s nameSpan) []byte {
		if s.from < 0 {
			return read[^s.from:s.to]
		}
		return b[s.from:s.to]
	}
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			open, name = append(open, len(names)), true
		case '[':
			open, name = append(open, -1), false
		case '}', ']':
			first := open[len(open)-1]
			if open = open[:len(open)-1]; first < 0 {
				continue
			}
			own := names[first:]
			slices.SortFunc(own, func(x, y nameSpan) int { return bytes.Compare(text(x), text(y)) })
			for j := 1; j < len(own); j++ {
				if bytes.Equal(text(own[j-1]), text(own[j])) {
					return true
				}
			}
			names = names[:first]
		case ',':
			name = open[len(open)-1] >= 0
		case '"':
			end := endOfString(b, i)
			if name {
				span := nameSpan{int32(i + 1), int32(end)}
				if bytes.IndexByte(b[i:end], '\\') >= 0 {
					span.from = ^int32(len(read))
					read = im.AppendText(read, b[i:end+1])
					span.to = int32(len(read))
				}
				names, name = append(names, span), false
			}
			i = end
		}
	}
	return false
}

// jsonFault says what keeps a text from being one JSON value that everyone reads
// alike; "" if nothing does.
func jsonFault(b []byte) string {
	if fault := syntaxFault(b); fault != "" {
		return fault
	}
	_, named := count(b)
	return nameFault(b, named)
}

// syntaxFault is the part of jsonFault that does not compare names. encoding/json would
// mend bad UTF-8.
func syntaxFault(b []byte) string {
	switch {
	case len(b) == 0:
		return "is empty"
	case !utf8.Valid(b):
		return "is not UTF-8"
	case depth(b) > maxDepth:
		return "is nested too deep"
	case !json.Valid(b):
		return "is not one JSON value"
	}
	return ""
}

// nameFault is the rest of it, of a valid JSON text with so many names.
func nameFault(b []byte, named int) string {
	if hasDuplicates(b, named) {
		return "has an object with two members of one name"
	}
	return ""
}

// eachMember calls fn with the name and value of each member of a valid JSON
// object, in their order, until it returns an error.
func eachMember(b []byte, fn func(name string, value []byte) error) error {
	for i := bytes.IndexByte(b, '{') + 1; i < len(b); i++ {
		if b[i] != '"' {
			continue // white space, a comma, the end
		}
		end := endOfString(b, i)
		name, err := unquote(b[i : end+1])
		if err != nil {
			return err
		}
		i = end + 1 + bytes.IndexByte(b[end+1:], ':') + 1
		for isSpace(b[i]) {
			i++
		}
		end = endOfValue(b, i)
		if err := fn(name, b[i:end]); err != nil {
			return err
		}
		i = end - 1
	}
	return nil
}

// isObject reports whether a valid JSON text is an object.
func isObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{'
}

// memberOf returns a member of a valid JSON object, nil if it has none of this name.
func memberOf(b []byte, name string) (found []byte) {
	_ = eachMember(b, func(n string, v []byte) error {
		if n == name {
			found = v
		}
		return nil
	})
	return found
}

// eachItem is eachMember for a list.
func eachItem(b []byte, fn func(i int, value []byte) error) error {
	n := 0
	for i := bytes.IndexByte(b, '[') + 1; i < len(b); i++ {
		if isSpace(b[i]) || b[i] == ',' || b[i] == ']' {
			continue
		}
		end := endOfValue(b, i)
		if err := fn(n, b[i:end]); err != nil {
			return err
		}
		n, i = n+1, end-1
	}
	return nil
}

// endOfValue returns where the value that begins at i ends.
func endOfValue(b []byte, i int) int {
	open := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '{', '[':
			open++
		case '}', ']':
			if open == 0 {
				return i
			}
			open--
		case ',':
			if open == 0 {
				return i
			}
			continue
		default:
			if open == 0 && isSpace(b[i]) {
				return i
			}
			continue
		}
		if open == 0 {
			return i + 1
		}
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// unquote reads a JSON string.
func unquote(b []byte) (string, error) {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	return s, err
}
