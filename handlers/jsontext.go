package handlers

import "encoding/json"

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
				var text string
				if json.Unmarshal(b[i:end+1], &text) != nil {
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
