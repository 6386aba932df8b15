package jsonscan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// faulty determines with encoding/json whether a text has a fault.
func faulty(text []byte) bool {
	if !utf8.Valid(text) || !json.Valid(text) {
		return true
	}
	type level struct {
		names  map[string]bool // nil in an array
		isName bool
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if n := len(open); n > 0 && open[n-1].names != nil {
			if name, ok := token.(string); ok && open[n-1].isName {
				if open[n-1].names[name] {
					return true
				}
				open[n-1].names[name], open[n-1].isName = true, false
				continue
			}
			open[n-1].isName = true
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}, isName: true})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) > maxDepth {
			return true
		}
	}
}

// values counts the values of a text with encoding/json.
func values(text []byte) int {
	var v any
	_ = json.Unmarshal(text, &v)
	var count func(v any) int
	count = func(v any) int {
		n := 1
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				n += count(item)
			}
		case map[string]any:
			for _, member := range v {
				n += count(member)
			}
		}
		return n
	}
	return count(v)
}

var texts = []string{
	``, ` `, `{}`, ` [ ] `, `null`, ` nullx`, `nul`, `true`, `false`, `0`, `-0`, `01`, `-`, `1.`, `.5`, `1.5e+3`, `1E-0`, `1e`, `1e+`, `+1`, `0x1`,
	`"x"`, `"`, `"\"`, `"\\"`, `"\u00e9\b\/"`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"", "\"\x00\"", "\"\x7f\"", `"\ud800"`, "\"\xff\"", "\"\xed\xa0\x80\"",
	"\xff", "{\"a\xc0\":1}", `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\u0061":1,"\u0061":2}`, `{"a":{"a":1},"b":[{"a":1}]}`, `{"a":{"b":1,"b":2}}`,
	`{"\ud800":1,"\udfff":2}`, `{"":1,"":2}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1 "b":2}`, `{} {}`, `[}`, `{]`,
	`{"a":1]`, `[1}`, "\ufeff{}", `{"a" : [ 1 , { "b" : null } ] , "c" : "d" }` + "\r\n\t",
	`{"i":0,"h":0,"g":0,"f":0,"e":0,"d":0,"c":0,"b":0,"a":0,"j":0}`, `{"i":0,"h":0,"g":0,"f":0,"e":0,"d":0,"c":0,"b":0,"a":0,"\u0067":0}`,
	strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65),
	strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64), strings.Repeat(`{"a":[`, 33) + strings.Repeat("]}", 33), strings.Repeat("[", 100),
}

func checkScan(t *testing.T, text []byte) {
	t.Helper()
	fault := Fault(text)
	if want := faulty(text); (fault != "") != want {
		t.Errorf("%q has the fault %q, want one: %t", text, fault, want)
	}
	if fault != "" {
		return
	}
	n := values(text)
	if got := Scan(text, n); got.Values != n || got.Fault != "" {
		t.Errorf("%q holds %d values, %q, want %d", text, got.Values, got.Fault, n)
	}
	if got := Scan(text, n-1); got.Values <= n-1 {
		t.Errorf("%q: Scan counts at most %d values", text, n-1)
	}
}

// TestScan compares Scan with encoding/json, and checks the faults that encoding/json accepts.
func TestScan(t *testing.T) {
	for _, text := range texts {
		checkScan(t, []byte(text))
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(checkScan)
}

// TestFaultNames checks the names of faults; the encoding takes precedence.
func TestFaultNames(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "is empty",
		"{\"a\":\"\xff\"}":           "is not UTF-8",
		"[}\xff":                     "is not UTF-8",
		strings.Repeat("[", 65):      "is nested too deeply",
		"[":                          "is not one JSON value",
		`{"a":[{"b":1,"\u0062":2}]}`: "has an object with two members of the same name",
	} {
		if got := Fault([]byte(text)); got != want {
			t.Errorf("%q %s, want %s", text, got, want)
		}
	}
	if got := Scan([]byte(`{"a":1,"a":2}`), 2); got.Fault != "" || got.Values != 3 {
		t.Errorf("a text of too many values has the fault %q and %d values, although its names must not be compared", got.Fault, got.Values)
	}
}

// BenchmarkScan scans the bodies of two sends.
func BenchmarkScan(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"text", fmt.Sprintf(`{"client_id":"c-123456","type":"text","body":{"text":"%s"}}`, strings.Repeat("hello ", 17))},
		{"custom", `{"client_id":"c-123456","type":"custom","body":{"name":"order","data":{"number":7,"lines":[{"sku":"a-1","n":1},` +
			`{"sku":"b-2","n":2.5e3},{"sku":"c-3","n":null}],"paid":true}},"ext":{"shop":"north"},"mentions":["bob","carol"]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			text := []byte(c.text)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if found := Scan(text, 5000); found.Fault != "" {
					b.Fatal(found.Fault)
				}
			}
		})
	}
}
