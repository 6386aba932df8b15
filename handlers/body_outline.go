package handlers

import (
	"bytes"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/jsonscan"
)

// Decoding JSON into values of type any turns three bytes, an empty object in a list, into about a
// hundred. So the validator gets an outline of a body: parts that the OpenAPI document does not
// describe are empty, and a list that is too long has been refused.

// shape is the part of a schema that decides what an outline keeps of a value.
type shape struct {
	// members are the members of an object; nil if the value is not an object, or one with
	// members of any name.
	members map[string]*shape
	// items is the shape of the items of a list; nil if the value is not a list, or a list of any
	// values. most is the maximum number of items, 0 for no limit.
	items *shape
	most  int
	// plain is set for a string without constraints, or only the constraint not to be empty.
	plain bool
	// free is set for a value that may be any JSON, such as the application's own.
	free bool
}

// shapeOf returns the shape of a schema. For a schema with alternatives it is their union: the
// validator determines which one a value is.
func shapeOf(s *openapi3.Schema) *shape {
	out := &shape{}
	switch closed := s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has; {
	case len(s.Properties) > 0:
	case closed:
		out.members = map[string]*shape{}
	default:
		out.free = s.Type == nil || s.Type.Is(openapi3.TypeObject)
	}
	for _, list := range []openapi3.SchemaRefs{s.OneOf, s.AnyOf, s.AllOf} {
		for i, alternative := range list {
			if i == 0 {
				out.free = false
			}
			out.merge(shapeOf(alternative.Value))
		}
	}
	for name, p := range s.Properties {
		out.merge(&shape{members: map[string]*shape{name: shapeOf(p.Value)}})
	}
	out.plain = s.Type.Is(openapi3.TypeString) && s.MaxLength == nil && s.MinLength <= 1 && s.Pattern == "" && s.Format == "" && s.Enum == nil
	if s.Items != nil {
		out.items = shapeOf(s.Items.Value)
		if s.MaxItems != nil {
			out.most = int(*s.MaxItems)
		}
	}
	return out
}

// merge adds what another shape keeps.
func (s *shape) merge(other *shape) {
	for name, m := range other.members {
		if s.members == nil {
			s.members = make(map[string]*shape)
		}
		if mine := s.members[name]; mine != nil {
			mine.merge(m)
		} else {
			s.members[name] = m // not shared, because shapeOf created it
		}
	}
	switch {
	case s.items == nil:
		s.items, s.most = other.items, other.most
	case other.items != nil:
		s.items.merge(other.items)
		if s.most = max(s.most, other.most); other.most == 0 {
			s.most = 0
		}
	}
	s.plain = s.plain && other.plain
	s.free = s.free || other.free
}

// tooLong is the error of a list that is longer than the schema allows.
type tooLong struct {
	field string
	most  int
}

func (t *tooLong) Error() string { return "must have at most " + counted(uint64(t.most), "item") }

// outline returns a valid JSON text with a short value of the same kind for each value that the
// schema does not describe, and "x" for each nonempty plain string. Of the unknown members of an
// object it keeps the first, with the value 0. The error is a [tooLong].
func outline(b []byte, s *shape) ([]byte, error) {
	o := outliner{in: b, out: make([]byte, 0, 1<<10)}
	o.space()
	err := o.value(s)
	return o.out, err
}

type outliner struct {
	in, out []byte
	at      int
	path    [][]byte // the names of the members around the position at
}

func (o *outliner) space() {
	for o.at < len(o.in) && jsonscan.IsSpace(o.in[o.at]) {
		o.at++
	}
}

// value copies the value at the current position.
func (o *outliner) value(s *shape) error {
	switch c := o.in[o.at]; {
	case c == '{' && s.members != nil:
		return o.object(s)
	case c == '[' && s.items != nil:
		return o.list(s)
	case c == '{':
		o.instead("{}")
	case c == '[':
		o.instead("[]")
	case c == '"' && s.free:
		o.instead(`""`)
	case c == '"' && s.plain && o.in[o.at+1] != '"':
		o.instead(`"x"`)
	case s.free && c != 'n' && c != 't' && c != 'f':
		o.instead("0")
	default:
		from := o.at
		o.at = jsonscan.EndOfValue(o.in, from)
		o.out = append(o.out, o.in[from:o.at]...)
	}
	return nil
}

// instead skips the value at the current position and writes another one.
func (o *outliner) instead(v string) {
	o.at = jsonscan.EndOfValue(o.in, o.at)
	o.out = append(o.out, v...)
}

func (o *outliner) object(s *shape) error {
	o.out = append(o.out, '{')
	first, unknown := true, false
	for o.at++; ; {
		o.space()
		switch o.in[o.at] {
		case '}':
			o.at++
			o.out = append(o.out, '}')
			return nil
		case ',':
			o.at++
			continue
		}
		name := o.in[o.at : jsonscan.EndOfString(o.in, o.at)+1]
		o.at += len(name)
		o.space()
		o.at++ // the colon
		o.space()
		member, known := s.member(name)
		if !known && unknown {
			o.at = jsonscan.EndOfValue(o.in, o.at)
			continue
		}
		if !first {
			o.out = append(o.out, ',')
		}
		first = false
		o.out = append(append(o.out, name...), ':')
		if !known {
			unknown = true
			o.instead("0")
			continue
		}
		o.path = append(o.path, name)
		if err := o.value(member); err != nil {
			return err
		}
		o.path = o.path[:len(o.path)-1]
	}
}

// member finds a member by its quoted name.
func (s *shape) member(name []byte) (*shape, bool) {
	if bytes.IndexByte(name, '\\') < 0 {
		m, known := s.members[string(name[1:len(name)-1])]
		return m, known
	}
	plain, err := jsonscan.Unquote(name)
	m, known := s.members[plain]
	return m, known && err == nil
}

func (o *outliner) list(s *shape) error {
	o.out = append(o.out, '[')
	n := 0
	for o.at++; ; {
		o.space()
		switch o.in[o.at] {
		case ']':
			o.at++
			o.out = append(o.out, ']')
			return nil
		case ',':
			o.at++
			o.out = append(o.out, ',')
			continue
		}
		if n++; s.most > 0 && n > s.most {
			return &tooLong{strings.ReplaceAll(string(bytes.Join(o.path, []byte("/"))), `"`, ""), s.most}
		}
		if err := o.value(s.items); err != nil {
			return err
		}
	}
}
