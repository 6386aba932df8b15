package handlers

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
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

// hasDuplicates reports whether an object in a valid JSON text has two members
// of one name, however that is escaped.
func hasDuplicates(b []byte) bool {
	var (
		open []map[string]bool // the names of each open object; nil for a list
		name bool              // whether a string here is a name
	)
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			open, name = append(open, map[string]bool{}), true
		case '[':
			open, name = append(open, nil), false
		case '}', ']':
			open = open[:len(open)-1]
		case ',':
			name = open[len(open)-1] != nil
		case '"':
			end := endOfString(b, i)
			if name {
				text, err := unquote(b[i : end+1])
				if err != nil {
					return true // not a valid text after all
				}
				names := open[len(open)-1]
				if names[text] {
					return true
				}
				names[text], name = true, false
			}
			i = end
		}
	}
	return false
}

// jsonFault says what keeps a text from being one JSON value that everyone reads
// alike; "" if nothing does. encoding/json would mend bad UTF-8.
func jsonFault(b []byte) string {
	switch {
	case len(b) == 0:
		return "is empty"
	case !utf8.Valid(b):
		return "is not UTF-8"
	case depth(b) > maxDepth:
		return "is nested too deep"
	case !json.Valid(b):
		return "is not one JSON value"
	case hasDuplicates(b):
		return "has an object with two members of one name"
	default:
		return ""
	}
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
