package im

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// decoded returns the canonical form made with encoding/json, for comparison.
func decoded(raw []byte) ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || v == nil || !inRange(v) {
		return nil, false
	}
	if !json.Valid(raw) {
		return nil, false // more data follows
	}
	b, err := marshal(v)
	return b, err == nil
}

func inRange(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, err := v.Float64()
		return err == nil
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !inRange(e) })
	case map[string]any:
		for _, e := range v {
			if !inRange(e) {
				return false
			}
		}
	}
	return true
}

var canonicalTexts = []string{
	`{}`, ` [ ] `, `null`, ` null`, `true`, `false`, `0`, `-0`, `1E+2`, `1e999`, `-1e-999`, `"x"`, ``, ` `, `{`, `{} {}`, `nullx`,
	`{"b":1,"a":{"z":[1, 2 ,{"y":1,"x":2}],"a":null}}`,
	`{"a":1,"a":2}`, `{"a":{"x":1},"b":3,"a":[]}`, `{"a":1,"\u0061":2,"b":0}`, `{"b":1,"":2,"a":3,"":4}`,
	`{"é":1,"z":2,"\u00e9":3,"😀":4,"\ud83d\ude00":5}`,
	`"\"\\\/\b\f\n\r\t\u0000\u001f\u007f\u2028\u2029<>&é漢😀"`, "\"\u2028\u2029\"",
	`"\ud800"`, `"\ud800x"`, `"\udc00\ud800"`, `"\ud800\u0041"`, `"\ud83d\ude00\ud83d"`, `"\ud800\ud83d\ude00"`, `"\ud800\n"`,
	"\"\xff\xc0\x80\xe6\xbc\"", "{\"\xff\":1,\"\xfe\":2,\"\ufffd\":3}",
	"[1,\t[2,[3]],{\"a\" : [ ] }\r\n, \"\" ]", `{"a":{"b":{"d":1,"c":2}},"Z":[{"b":1,"a":2}]}`,
}

func TestCanonicalIsWhatDecodingGives(t *testing.T) {
	for _, text := range append(canonicalTexts, strings.Repeat("[", 500)+strings.Repeat("]", 500)) {
		want, ok := decoded([]byte(text))
		got, err := canonicalValue("x", []byte(text))
		if (err == nil) != ok || !bytes.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q, %t", text, got, err, want, ok)
		}
		if n := CanonicalSize(got); n != len(got) {
			t.Errorf("%q has %d bytes, not %d", got, len(got), n)
		}
	}
}

// FuzzCanonical compares canonicalValue with decoded for any text.
func FuzzCanonical(f *testing.F) {
	for _, text := range canonicalTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, ok := decoded(text)
		got, err := canonicalValue("x", text)
		if (err == nil) != ok || !bytes.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q, %t", text, got, err, want, ok)
		}
		if n := CanonicalSize(got); n != len(got) {
			t.Errorf("%q has %d bytes, not %d", got, len(got), n)
		}
		if ok && CanonicalSize(text) < len(got) {
			t.Errorf("CanonicalSize(%q) is %d, its canonical form has %d bytes", text, CanonicalSize(text), len(got))
		}
	})
}

// marshal is json.Marshal without escapes for <, > and &.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
