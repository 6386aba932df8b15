package jsonscan

import (
	"bytes"
	"iter"

	"github.com/imapi/imapi/im"
)

// Value is a value in a text that [Scan] has checked, or the name of a member. The zero Value is no
// value.
type Value struct {
	in *index
	at int32
}

// index is where the values and names of a text are.
type index struct {
	text []byte
	// nodes has an object before its members, a name before its value, and an array before its
	// elements.
	nodes []node
}

// node is small, because the shortest value takes two bytes of text.
type node struct {
	from, to int32 // in the text
	// after is twice the index of the first node after the value and all within it, plus 1 if the
	// value is canonical JSON.
	after int32
}

func (n node) next() int32       { return n.after >> 1 }
func (n node) isCanonical() bool { return n.after&1 == 1 }

// JSON returns the text of a value: a part of the scanned text. It is nil for no value.
func (v Value) JSON() []byte {
	if v.in == nil {
		return nil
	}
	n := &v.in.nodes[v.at]
	return v.in.text[n.from:n.to:n.to]
}

// Kind returns the first byte of the text of a value, which determines its type; 0 for no value.
func (v Value) Kind() byte {
	if v.in == nil {
		return 0
	}
	return v.in.text[v.in.nodes[v.at].from]
}

// IsCanonical reports whether a value is canonical JSON, as package im makes it. That is false for a
// value with a number beyond the range of a double, and true for no value.
func (v Value) IsCanonical() bool { return v.in == nil || v.in.nodes[v.at].isCanonical() }

// Text returns the text of a string: a part of the scanned text if it has no escapes.
func (v Value) Text() []byte {
	quoted := v.JSON()
	if bytes.IndexByte(quoted, '\\') >= 0 {
		return im.AppendText(nil, quoted)
	}
	return quoted[1 : len(quoted)-1]
}

// Members yields the name and value of each member of an object, in order. It yields nothing for
// another value.
func (v Value) Members() iter.Seq2[Value, Value] {
	return func(yield func(name, value Value) bool) {
		if v.Kind() != '{' {
			return
		}
		nodes := v.in.nodes
		for i := v.at + 1; i < nodes[v.at].next(); i = nodes[i+1].next() {
			if !yield(Value{v.in, i}, Value{v.in, i + 1}) {
				return
			}
		}
	}
}

// Member returns the value of a member of an object; no value if there is none of this name, or if v
// is not an object.
func (v Value) Member(name string) Value {
	for n, value := range v.Members() {
		if string(n.Text()) == name {
			return value
		}
	}
	return Value{}
}

// Items yields each element of an array, in order. It yields nothing for another value.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != '[' {
			return
		}
		nodes := v.in.nodes
		for i := v.at + 1; i < nodes[v.at].next(); i = nodes[i].next() {
			if !yield(Value{v.in, i}) {
				return
			}
		}
	}
}
