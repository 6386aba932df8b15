package handlers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// requirement says what the document requires of a value that does not fit. It names what the
// document allows, so that whoever reads it need not look there, and repeats nothing of the value.
func requirement(e *openapi3.SchemaError) string {
	s := e.Schema
	switch e.SchemaField {
	case "required":
		return "is missing"
	case "nullable":
		return "must not be null"
	case "type":
		return "must be " + typeName(s.Type)
	case "enum":
		return "must be " + alternatives(s.Enum)
	case "discriminator", "oneOf":
		if s.Discriminator != nil {
			return "must be " + alternatives(slices.Sorted(maps.Keys(s.Discriminator.Mapping)))
		}
	case "format":
		switch s.Format {
		case userIDFormat:
			return errUserID.Error()
		case timeFormat:
			return errTime.Error()
		}
	case "minimum":
		return "must be at least " + plainNumber(*s.Min)
	case "maximum":
		return "must be at most " + plainNumber(*s.Max)
	case "minLength":
		return "must have at least " + counted(s.MinLength, "character")
	case "maxLength":
		return "must have at most " + counted(*s.MaxLength, "character")
	case "minItems":
		return "must have at least " + counted(s.MinItems, "item")
	case "maxItems":
		return "must have at most " + counted(*s.MaxItems, "item")
	case "uniqueItems":
		return "has an item twice"
	case "minProperties":
		return "must have at least " + counted(s.MinProps, "member") + " of " + members(s)
	case "maxProperties":
		return "must have at most " + counted(*s.MaxProps, "member") + " of " + members(s)
	case "pattern":
		return "must match the pattern " + s.Pattern
	}
	return strings.TrimSpace(e.Reason)
}

// typeName names the type of a value.
func typeName(t *openapi3.Types) string {
	switch {
	case t.Is("object"), t.Is("array"), t.Is("integer"):
		return "an " + (*t)[0]
	case t.Is("boolean"):
		return "true or false"
	case t.Is("string"), t.Is("number"):
		return "a " + (*t)[0]
	default:
		return "of another type"
	}
}

// alternatives lists what a value may be, with "or" before the last.
func alternatives[T any](values []T) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = fmt.Sprint(v)
	}
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], ", ") + " or " + list[last]
}

// members lists the members that an object may have.
func members(s *openapi3.Schema) string {
	return strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", ")
}

// counted writes a number with its noun.
func counted(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.FormatUint(n, 10) + " " + noun
}

// plainNumber writes a limit without an exponent.
func plainNumber(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
