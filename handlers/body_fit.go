package handlers

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// fit accepts JSON values that fit a schema, without decoding them. It implements the keywords that
// most request bodies in the OpenAPI document use. A value that it does not accept is checked by the
// validator, which can say what is wrong. So a fit may be too strict, but never too lax.
type fit struct {
	kind     string // the type of the schema; "" for any value
	nullable bool

	// Of a string.
	minLength, maxLength int // maxLength is -1 for none
	pattern              *regexp.Regexp
	userID               bool
	enum                 []string

	// Of a number.
	least, most *float64

	// Of a list.
	items              *fit
	minItems, maxItems int // maxItems is -1 for none
	unique             bool

	// Of an object.
	members            map[string]fitMember
	required           int  // the number of required members
	open               bool // whether it may have other members
	minProps, maxProps int  // maxProps is -1 for none

	// Of an object with alternatives, one of which a member selects.
	discriminator string
	kinds         map[string]*fit
}

type fitMember struct {
	*fit
	required bool
}

// noFit accepts nothing.
var noFit = &fit{kind: "none"}

// fitOf returns the fit of a schema; noFit if the schema has keywords that fit does not implement.
func fitOf(s *openapi3.Schema) *fit {
	if s.Not != nil || len(s.AnyOf) > 0 || len(s.AllOf) > 0 || s.MultipleOf != nil || s.Always != nil || s.Const != nil ||
		s.ExclusiveMin.IsSet() || s.ExclusiveMax.IsSet() || s.AdditionalProperties.Schema != nil {
		return noFit
	}
	if len(s.OneOf) > 0 {
		return fitOfKinds(s)
	}
	f := &fit{
		nullable: s.Nullable, minLength: int(s.MinLength), maxLength: limitOf(s.MaxLength), least: s.Min, most: s.Max,
		minItems: int(s.MinItems), maxItems: limitOf(s.MaxItems), unique: s.UniqueItems,
		minProps: int(s.MinProps), maxProps: limitOf(s.MaxProps),
	}
	if s.Type == nil {
		bare := *s
		if bare.Nullable = false; !bare.IsEmpty() {
			return noFit
		}
		return f
	}
	if len(*s.Type) != 1 {
		return noFit
	}
	f.kind = (*s.Type)[0]
	switch f.kind {
	case openapi3.TypeString:
		return f.readString(s)
	case openapi3.TypeArray:
		if s.Items == nil {
			return noFit
		}
		f.items = fitOf(s.Items.Value)
	case openapi3.TypeObject:
		f.open = s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has
		f.members = make(map[string]fitMember, len(s.Properties))
		f.required = len(s.Required)
		for name, p := range s.Properties {
			f.members[name] = fitMember{fitOf(p.Value), slices.Contains(s.Required, name)}
		}
	}
	if len(s.Enum) > 0 {
		return noFit
	}
	return f
}

func limitOf(n *uint64) int {
	if n == nil {
		return -1
	}
	return int(*n)
}

func (f *fit) readString(s *openapi3.Schema) *fit {
	switch s.Format {
	case "":
	case userIDFormat:
		f.userID = true
	default:
		return noFit
	}
	if s.Pattern != "" {
		var err error
		if f.pattern, err = regexp.Compile(s.Pattern); err != nil {
			return noFit
		}
	}
	for _, v := range s.Enum {
		text, ok := v.(string)
		if !ok {
			return noFit
		}
		f.enum = append(f.enum, text)
	}
	return f
}

// fitOfKinds returns the fit of a schema with alternatives and a discriminator.
func fitOfKinds(s *openapi3.Schema) *fit {
	if s.Type != nil || s.Discriminator == nil || len(s.Properties) > 0 || len(s.Required) > 0 || s.Nullable || len(s.Enum) > 0 {
		return noFit
	}
	f := &fit{kind: openapi3.TypeObject, discriminator: s.Discriminator.PropertyName, kinds: make(map[string]*fit)}
	for value, mapped := range s.Discriminator.Mapping {
		for _, alternative := range s.OneOf {
			if alternative.Ref == mapped.Ref {
				f.kinds[value] = fitOf(alternative.Value)
			}
		}
	}
	return f
}

// accepts reports whether a value is known to fit.
func (f *fit) accepts(v jsonscan.Value) bool {
	switch c := v.Kind(); f.kind {
	case "":
		return c != 'n' || f.nullable
	case openapi3.TypeString:
		return c == '"' && f.acceptsString(v.JSON()) || c == 'n' && f.nullable
	case openapi3.TypeBoolean:
		return c == 't' || c == 'f' || c == 'n' && f.nullable
	case openapi3.TypeInteger:
		number := v.JSON()
		return len(number) <= 15 && isDigits(bytes.TrimPrefix(number, []byte("-"))) && f.acceptsNumber(number) || c == 'n' && f.nullable
	case openapi3.TypeNumber:
		return (c == '-' || c >= '0' && c <= '9') && f.acceptsNumber(v.JSON()) || c == 'n' && f.nullable
	case openapi3.TypeArray:
		return c == '[' && f.acceptsList(v) || c == 'n' && f.nullable
	case openapi3.TypeObject:
		return c == '{' && f.acceptsObject(v) || c == 'n' && f.nullable
	default:
		return false
	}
}

func isDigits(v []byte) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(v) > 0
}

func (f *fit) acceptsNumber(v []byte) bool {
	n, err := strconv.ParseFloat(string(v), 64)
	return err == nil && (f.least == nil || n >= *f.least) && (f.most == nil || n <= *f.most)
}

func (f *fit) acceptsString(v []byte) bool {
	text := v[1 : len(v)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		if f.minLength <= 1 && f.maxLength < 0 && f.pattern == nil && f.enum == nil && !f.userID {
			return true // a string with an escape is not empty
		}
		text = im.AppendText(nil, v)
	}
	return f.fitsText(text)
}

// fitsText reports whether a text is known to fit.
func (f *fit) fitsText(text []byte) bool {
	if f.minLength > 1 || f.maxLength >= 0 {
		if n := utf8.RuneCount(text); n < f.minLength || f.maxLength >= 0 && n > f.maxLength {
			return false
		}
	}
	return len(text) >= f.minLength && (f.enum == nil || slices.ContainsFunc(f.enum, func(s string) bool { return s == string(text) })) &&
		(f.pattern == nil || f.pattern.Match(text)) && (!f.userID || im.UserID(text).Valid())
}

func (f *fit) acceptsList(v jsonscan.Value) bool {
	n := 0
	for item := range v.Items() {
		n++
		if !f.items.accepts(item) || f.unique && (item.Kind() != '"' || bytes.IndexByte(item.JSON(), '\\') >= 0) {
			return false
		}
	}
	return n >= f.minItems && (f.maxItems < 0 || n <= f.maxItems) && (!f.unique || isUnique(v, n))
}

// isUnique reports whether n strings without escapes differ.
func isUnique(list jsonscan.Value, n int) bool {
	items := make([][]byte, 0, n)
	for item := range list.Items() {
		items = append(items, item.JSON())
	}
	slices.SortFunc(items, bytes.Compare)
	for i := 1; i < len(items); i++ {
		if bytes.Equal(items[i-1], items[i]) {
			return false
		}
	}
	return true
}

func (f *fit) acceptsObject(v jsonscan.Value) bool {
	if f.kinds != nil {
		value := v.Member(f.discriminator)
		kind := f.kinds[string(bytes.Trim(value.JSON(), `"`))]
		return value.Kind() == '"' && kind != nil && kind.accepts(v)
	}
	n, required := 0, 0
	for quoted, value := range v.Members() {
		name := quoted.JSON()
		if n++; bytes.IndexByte(name, '\\') >= 0 {
			return false
		}
		member, known := f.members[string(name[1:len(name)-1])]
		if !known && !f.open || known && !member.accepts(value) {
			return false
		}
		if member.required {
			required++
		}
	}
	return required == f.required && n >= f.minProps && (f.maxProps < 0 || n <= f.maxProps)
}
