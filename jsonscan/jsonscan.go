// Package jsonscan reads JSON texts where they are, without building values.
//
// It is stricter than encoding/json, which a public API cannot rely on: it limits
// how deep a text is nested, and refuses objects with two members of one name.
// One reader would take the first of them, and another the last.
//
// [Fault] checks a text. All other functions take a text that has passed it: they
// may panic, or return anything, on one that is not valid.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/imapi/imapi/im"
)

// maxDepth is how deep JSON may be nested. Messages are small: deeper nesting is
// an attack on recursive parsers.
const maxDepth = 64

// depth returns how deep the brackets of a text are nested. The text need not be
// valid.
func depth(b []byte) int {
	deepest, now := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = EndOfString(b, i)
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		}
	}
	return deepest
}

// EndOfString returns the index of the quote that closes the string beginning at
// i, or len(b) if there is none. The text need not be valid.
func EndOfString(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}

// Count returns how many values a text holds, itself included, and how many of
// them are members of an object.
func Count(b []byte) (n, named int) {
	n = 1
	empty := false // whether a bracket was opened just before
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case IsSpace(c):
			continue
		case c == '"':
			i = EndOfString(b, i)
		case c == ':':
			named++
		case c == ',':
			n++
		case c == ']' || c == '}':
			if !empty {
				n++ // the last value in it: no comma follows
			}
		}
		empty = b[i] == '[' || b[i] == '{'
	}
	return n, named
}

// nameSpan locates the name of a member: in the text, or, if it is written with
// escapes, in a buffer of unescaped names. In the second case from is negative, the
// bitwise complement of the offset.
type nameSpan struct{ from, to int32 }

// hasDuplicates reports whether an object in the text has two members of one name,
// whichever way it is escaped. named is the number of names in the text. It uses
// 8 bytes of memory for each name, and the length of those with escapes.
func hasDuplicates(b []byte, named int) bool {
	var (
		open  []int                        // for each open object, len(names) when it was opened; -1 for an array
		read  []byte                       // unescaped names
		name  bool                         // whether the next string is a name
		names = make([]nameSpan, 0, named) // of all open objects, the innermost last
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
			end := EndOfString(b, i)
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

// Fault says why a text is not one JSON value that all readers understand in the
// same way, as the end of a sentence about it: "is not UTF-8". It returns "" if the
// text is fine.
func Fault(b []byte) string {
	if fault := SyntaxFault(b); fault != "" {
		return fault
	}
	_, named := Count(b)
	return NameFault(b, named)
}

// SyntaxFault does all the checks of [Fault] except for duplicate names. It checks
// UTF-8 because encoding/json would replace bad bytes silently.
func SyntaxFault(b []byte) string {
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

// NameFault does the rest of [Fault], for a text that has passed [SyntaxFault].
// named is the number of names, from [Count].
func NameFault(b []byte, named int) string {
	if hasDuplicates(b, named) {
		return "has an object with two members of one name"
	}
	return ""
}

// Members calls fn with the name and value of each member of an object, in order.
// It stops at the first error of fn and returns it.
func Members(b []byte, fn func(name string, value []byte) error) error {
	for i := bytes.IndexByte(b, '{') + 1; i < len(b); i++ {
		if b[i] != '"' {
			continue // white space, a comma or the closing bracket
		}
		end := EndOfString(b, i)
		name, err := Unquote(b[i : end+1])
		if err != nil {
			return err
		}
		i = end + 1 + bytes.IndexByte(b[end+1:], ':') + 1
		for IsSpace(b[i]) {
			i++
		}
		end = EndOfValue(b, i)
		if err := fn(name, b[i:end]); err != nil {
			return err
		}
		i = end - 1
	}
	return nil
}

// IsObject reports whether a text is an object.
func IsObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{'
}

// Member returns the value of a member of an object, nil if there is none of this
// name.
func Member(b []byte, name string) (found []byte) {
	_ = Members(b, func(n string, v []byte) error {
		if n == name {
			found = v
		}
		return nil
	})
	return found
}

// Items calls fn with the index and value of each element of an array, in order. It
// stops at the first error of fn and returns it.
func Items(b []byte, fn func(i int, value []byte) error) error {
	n := 0
	for i := bytes.IndexByte(b, '[') + 1; i < len(b); i++ {
		if IsSpace(b[i]) || b[i] == ',' || b[i] == ']' {
			continue
		}
		end := EndOfValue(b, i)
		if err := fn(n, b[i:end]); err != nil {
			return err
		}
		n, i = n+1, end-1
	}
	return nil
}

// EndOfValue returns the index after the value that begins at i.
func EndOfValue(b []byte, i int) int {
	open := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = EndOfString(b, i)
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
			if open == 0 && IsSpace(b[i]) {
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

// IsSpace reports whether c is white space in JSON.
func IsSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// Unquote returns what a string says, given with its quotes.
func Unquote(b []byte) (string, error) {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	return s, err
}
