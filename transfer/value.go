package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/jsonscan"
)

// The functions here read one value of a valid JSON text. encoding/json is not strict
// enough: it accepts null for a value of any type, and names in any case.

func isNull(v []byte) bool { return v[0] == 'n' }

func errMissing(field string) error {
	return im.RefuseField(im.Invalid, "invalid_request", field, "is missing")
}

func errUnknown(field string) error {
	return im.RefuseField(im.Invalid, "invalid_request", im.ClipField(field), "is not a known member")
}

// errType refuses a value that is not of a type, such as "a string".
func errType(field, want string) error {
	return im.RefuseField(im.Invalid, "invalid_request", field, "must be %s", want)
}

// readMembers calls fn for each member of the object v. It puts field in front of the
// field that fn refuses.
func readMembers(field string, v []byte, fn func(name string, v []byte) error) error {
	if v[0] != '{' {
		return errType(field, "an object")
	}
	return jsonscan.Members(v, func(name string, v []byte) error { return within(field, fn(name, v)) })
}

// readItems returns the items of the array v, each read by fn. It refuses more than most
// items, and puts field and the index in front of the field that fn refuses.
func readItems[T any](field string, v []byte, most int, fn func(v []byte, into *T) error) ([]T, error) {
	if v[0] != '[' {
		return nil, errType(field, "an array")
	}
	n := 0
	_ = jsonscan.Items(v, func(int, []byte) error { n++; return nil })
	if n > most {
		return nil, im.RefuseField(im.Invalid, "invalid_request", field, "must have at most %d items", most)
	}
	list := make([]T, n)
	err := jsonscan.Items(v, func(i int, v []byte) error {
		if err := fn(v, &list[i]); err != nil {
			return within(fmt.Sprintf("%s/%d", field, i), err)
		}
		return nil
	})
	return list, err
}

// within puts field in front of the field of a refusal. Paths are not passed down to readers,
// because building one for each value would cost more than reading it.
func within(field string, err error) error {
	refusal, ok := im.AsError(err)
	if !ok {
		return err
	}
	inner := *refusal
	inner.Field = im.ClipField(strings.Trim(field+"/"+inner.Field, "/"))
	return &inner
}

func readString[T ~string](field string, v []byte, into *T) error {
	if v[0] != '"' {
		return errType(field, "a string")
	}
	s, err := jsonscan.Unquote(v)
	if err != nil {
		return errType(field, "a string")
	}
	*into = T(s)
	return nil
}

// readText reads a string and refuses an empty one.
func readText[T ~string](field string, v []byte, into *T) error {
	if err := readString(field, v, into); err != nil {
		return err
	}
	if *into == "" {
		return im.RefuseField(im.Invalid, "invalid_request", field, "must not be empty")
	}
	return nil
}

func readOptionalText[T ~string](field string, v []byte, into *T) error {
	if isNull(v) {
		return nil
	}
	return readText(field, v, into)
}

func readInteger(field string, v []byte, into *int64, least, most int64) error {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		f, bad := strconv.ParseFloat(string(v), 64)
		if bad != nil || f != math.Trunc(f) {
			return errType(field, "an integer")
		}
		n = most + 1 // not an int64, or written like 1e3 or 1.0
	}
	if n < least || n > most {
		return im.RefuseField(im.Invalid, "invalid_request", field, "must be %d to %d", least, most)
	}
	*into = n
	return nil
}

func readBoolean(field string, v []byte, into *bool) error {
	if v[0] != 't' && v[0] != 'f' {
		return errType(field, "true or false")
	}
	*into = v[0] == 't'
	return nil
}

func readEnum[T any](field string, v []byte, into *T, parse func(string) (T, bool)) error {
	var s string
	if err := readString(field, v, &s); err != nil {
		return err
	}
	found, ok := parse(s)
	if !ok {
		return im.RefuseField(im.Invalid, "invalid_request", field, "is not one of the allowed values")
	}
	*into = found
	return nil
}

func readTime(field string, v []byte, into *time.Time) error {
	if v[0] != '"' {
		return errType(field, "a string")
	}
	// Package time also accepts a decimal comma, and hours of one digit.
	loose := len(v) < len(`"2006-01-02T15:04:05Z"`) || v[len(`"2006-01-02T15`)] != ':' || bytes.IndexByte(v, ',') >= 0
	if err := into.UnmarshalJSON(v); err != nil || into.IsZero() || loose {
		return im.RefuseField(im.Invalid, "invalid_request", field, "must be an RFC 3339 time")
	}
	return nil
}

func readOptionalTime(field string, v []byte, into *time.Time) error {
	if isNull(v) {
		return nil
	}
	return readTime(field, v, into)
}

// readObject returns an object undecoded: package im checks it. null leaves into unchanged.
func readObject(field string, v []byte, into *json.RawMessage) error {
	switch {
	case isNull(v):
		return nil
	case v[0] != '{':
		return errType(field, "an object")
	}
	*into = v
	return nil
}
