package jsonscan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/imapi/imapi/im"
)

// decoded returns a value as encoding/json decodes it.
func decoded(v Value) any {
	switch v.Kind() {
	case '{':
		object := map[string]any{}
		for name, member := range v.Members() {
			object[string(name.Text())] = decoded(member)
		}
		return object
	case '[':
		list := []any{}
		for item := range v.Items() {
			list = append(list, decoded(item))
		}
		return list
	case '"':
		return string(v.Text())
	case 't', 'f':
		return v.Kind() == 't'
	case 'n':
		return nil
	default:
		return json.Number(v.JSON())
	}
}

// isCanonical determines with package im whether a value is canonical JSON: whether a message keeps
// it as it is.
func isCanonical(v []byte) bool {
	body := fmt.Appendf(nil, `{"data":%s,"name":"n"}`, v)
	content, err := im.Draft{Type: im.Custom, Body: body}.Content(math.MaxInt)
	return err == nil && bytes.Equal(content.Body, body)
}

// checkCanonical compares [Value.IsCanonical] with isCanonical for a value and the values in it.
func checkCanonical(t *testing.T, v Value) {
	t.Helper()
	if got, want := v.IsCanonical(), isCanonical(v.JSON()); got != want {
		t.Errorf("%q is canonical: %t, want %t", v.JSON(), got, want)
	}
	for _, member := range v.Members() {
		checkCanonical(t, member)
	}
	for item := range v.Items() {
		checkCanonical(t, item)
	}
}

// checkValue compares the value that Scan returns with encoding/json and package im.
func checkValue(t *testing.T, text []byte) {
	t.Helper()
	found := Scan(text, len(text))
	if found.Fault != "" || !json.Valid(text) {
		if found.Value != (Value{}) {
			t.Errorf("%q %s, but has a value", text, found.Fault)
		}
		return
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	if got := decoded(found.Value); !reflect.DeepEqual(got, want) { // cmp takes 2ⁿ steps for n nested lists
		t.Errorf("%q is %v, want %v", text, got, want)
	}
	if got, want := found.Value.JSON(), bytes.Trim(text, " \t\r\n"); !bytes.Equal(got, want) {
		t.Errorf("the JSON of %q is %q", text, got)
	}
	checkCanonical(t, found.Value)
}

// canonicalTexts are texts that are nearly canonical, or just so.
var canonicalTexts = []string{
	`{"a":1,"b":2}`, `{"b":1,"a":2}`, `{"a":{"c":1,"b":2},"b":[]}`, `[{"a":1}, 2]`, `{"a" :1}`, `{"a":[ ]}`, `[ 1]`, `[1 ]`,
	`"\""`, `"\/"`, `"\\"`, `"\b\f\n\r\t"`, `"\u0000"`, `"\u001f"`, `"\u001F"`, `"\u000a"`, `"\u000b"`, `"\u000B"`, `"\u0010"`, `"\u0020"`,
	`"\u2028\u2029"`, "\"\u2028\"", "\"\u2029\"", `"\u202a"`, `"\ud83d\ude00"`, `"\ud800"`, "\"\U0001f600\ufffd\x7f\"", `"\u00e9"`, `"é"`,
	`1e5`, `1e999`, `-1e-999`, `{"a":[1,{"b":1e999}]}`, `-0`, `1.50`, `{"\u0061":1}`, `{"\n":1,"b":2}`, `{"b":1,"\n":2}`, `{"é":1,"z":2}`,
	"1" + fmt.Sprintf("%0310d", 0), "1" + fmt.Sprintf("%0298d", 0), "1" + fmt.Sprintf("%0300d", 0), `{"":1,"a":"","b":null}`,
	`{"a":1,"b":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18],"c":{"d":[],"e":{}}}`,
}

// TestValue compares values with encoding/json and package im.
func TestValue(t *testing.T) {
	for _, text := range append(canonicalTexts, texts...) {
		checkValue(t, []byte(text))
	}
}

func FuzzValue(f *testing.F) {
	for _, text := range append(canonicalTexts, texts...) {
		f.Add([]byte(text))
	}
	f.Fuzz(checkValue)
}

// TestNoValue checks the zero Value, and members that do not exist.
func TestNoValue(t *testing.T) {
	for name, v := range map[string]Value{
		"zero":            {},
		"of an object":    Scan([]byte(`{"b":1}`), 9).Value.Member("a"),
		"of a list":       Scan([]byte(`["a"]`), 9).Value.Member("a"),
		"too many values": Scan([]byte(`[1,2,3]`), 3).Value,
		"two of one name": Scan([]byte(`{"a":1,"a":1}`), 9).Value,
	} {
		t.Run(name, func(t *testing.T) {
			for range v.Members() {
				t.Error("there is a member")
			}
			for range v.Items() {
				t.Error("there is an element")
			}
			if v.JSON() != nil || v.Kind() != 0 || !v.IsCanonical() {
				t.Errorf("the JSON is %q", v.JSON())
			}
		})
	}
}
