package handlers

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/jsonscan"
)

// The validator, and whatever else decodes JSON into values of any type, makes some
// hundred bytes of three: an empty object in a list. So what it gets of a body is an
// outline, in which the parts are empty that the document says nothing of, and lists
// that are too long were refused.

// shape is what a schema says of a value that decides what of it is in an outline.
type shape struct {
	// members are those of an object, nil for what is none or may have any.
	members map[string]*shape
	// items are those of a list, nil for what is none or may hold anything, and most
	// how many it may have, 0 for any number.
	items *shape
	most  int
	// plain says that of a text the document asks no more than that it is not empty.
	plain bool
	// free says that the document leaves it to the application.
	free bool
}

// shapeOf reads a schema. Of one that has alternatives it is all that one of them
// may have: which one it is, and what that has, the validator finds out.
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

// merge adds what another shape may have.
func (s *shape) merge(other *shape) {
	for name, m := range other.members {
		if s.members == nil {
			s.members = make(map[string]*shape)
		}
		if mine := s.members[name]; mine != nil {
			mine.merge(m)
		} else {
			s.members[name] = m // its own, for shapeOf made it
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

// tooLong says of a list that it is longer than the document lets it be.
type tooLong struct {
	field string
	most  int
}

func (t *tooLong) Error() string { return fmt.Sprintf("maximum number of items is %d", t.most) }

// outline returns a valid JSON text without what the document does not describe: there
// an empty value of the same kind stands, and of the members that an object does not
// have in the document no more than the first. The error is a [tooLong].
func outline(b []byte, s *shape) ([]byte, error) {
	o := outliner{in: b, out: make([]byte, 0, 1<<10)}
	o.space()
	err := o.value(s)
	return o.out, err
}

type outliner struct {
	in, out []byte
	at      int
	path    [][]byte // the names of the members that at is in
}

func (o *outliner) space() {
	for o.at < len(o.in) && jsonscan.IsSpace(o.in[o.at]) {
		o.at++
	}
}

// value adds the value that begins here.
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

// instead adds another value for that which begins here.
func (o *outliner) instead(v string) {
	o.at = jsonscan.EndOfValue(o.in, o.at)
	o.out = append(o.out, v...)
}

func (o *outliner) object(s *shape) error {
	o.out = append(o.out, '{')
	first, strange := true, false
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
		if !known && strange {
			o.at = jsonscan.EndOfValue(o.in, o.at)
			continue
		}
		if !first {
			o.out = append(o.out, ',')
		}
		first = false
		o.out = append(append(o.out, name...), ':')
		if !known {
			strange = true
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

// member finds a member by its name as it is written.
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
