package jsonscan

import (
	"bytes"
	"encoding/json"
	"iter"
)

// EndOfString returns the index of the quote that closes the string beginning at
// i, or at least len(b) if there is none. The text need not be valid.
func EndOfString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		before := i
		i += n
		escapes := 0
		for i-escapes > before && b[i-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
	return i
}

// Object yields the quoted name and the value of each member of an object, in order.
func Object(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := bytes.IndexByte(b, '{') + 1; i < len(b); i++ {
			if b[i] != '"' {
				continue // white space, a comma or the closing brace
			}
			end := EndOfString(b, i) + 1
			name := b[i:end]
			i = end + bytes.IndexByte(b[end:], ':') + 1
			for IsSpace(b[i]) {
				i++
			}
			end = EndOfValue(b, i)
			if !yield(name, b[i:end]) {
				return
			}
			i = end - 1
		}
	}
}

// Members calls fn with the name and value of each member of an object, in order.
// It stops at the first error of fn and returns it.
func Members(b []byte, fn func(name string, value []byte) error) error {
	for quoted, value := range Object(b) {
		name, err := Unquote(quoted)
		if err == nil {
			err = fn(name, value)
		}
		if err != nil {
			return err
		}
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

// Unquote returns the text of a string, which is given with its quotes.
func Unquote(b []byte) (string, error) {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	return s, err
}
