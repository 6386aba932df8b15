package sqlite

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/imapi/imapi/im"
)

// markerPrefix is the prefix of all markers, which the search looks for.
const markerPrefix = "imapimarking"

// newMarker returns a text that occurs nowhere else.
func newMarker(random *rand.Rand) string {
	b := []byte(markerPrefix)
	for range 20 {
		b = append(b, "abcdefghijklmnopqrstuvwxyz234567"[random.IntN(32)])
	}
	return string(b)
}

// marked returns content of about size bytes. It repeats its marker to the end, so that any
// remaining part can be found.
func marked(marker string, size int) *im.Content {
	unit := marker + strings.Repeat(".", 90) + " "
	text := strings.Repeat(unit, 1+size/len(unit))
	if size < len(marker) {
		text = marker[len(marker)-size:]
	} else {
		text = text[len(text)-size:] + marker
	}
	c, err := im.ParseContent(fmt.Appendf(nil, `{"body":{"text":%q},"type":"text"}`, text))
	if err != nil {
		panic(err)
	}
	return c
}

// form is an encoding of a text in a file.
type form struct {
	name   string
	encode func(text string) []byte
	// lead is the encoded prefix of all markers.
	lead  []byte
	erase map[string]string // the encoded markers to search for
}

// traces searches files for markers.
type traces struct{ forms []*form }

func newTraces() *traces {
	wide := func(low, high int) func(string) []byte {
		return func(text string) []byte {
			var b []byte
			for _, u := range utf16.Encode([]rune(text)) {
				b = append(b, byte(u>>low), byte(u>>high))
			}
			return b
		}
	}
	forms := []*form{
		{name: "UTF-8", encode: func(text string) []byte { return []byte(text) }},
		{name: "UTF-16LE", encode: wide(0, 8)},
		{name: "UTF-16BE", encode: wide(8, 0)},
	}
	for shift := range 3 {
		forms = append(forms, &form{name: fmt.Sprint("base64 at ", shift), encode: func(text string) []byte {
			whole := append(make([]byte, shift), text...)
			b := base64.StdEncoding.EncodeToString(whole[:len(whole)/3*3])
			return []byte(b[[]int{0, 2, 3}[shift]:]) // the bytes before depend on the preceding text
		}})
	}
	for _, f := range forms {
		f.erase = map[string]string{}
		one, other := f.encode(markerPrefix+"aaaa"), f.encode(markerPrefix+"7777")
		for i := range one {
			if one[i] != other[i] {
				f.lead = one[:i]
				break
			}
		}
	}
	return &traces{forms}
}

// add adds a marker to search for.
func (t *traces) add(marker string) {
	for _, f := range t.forms {
		f.erase[string(f.encode(marker))] = marker
	}
}

// find searches all files in a directory tree for the markers.
func (t *traces) find(tb testing.TB, dir string) (found []string) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folded := lower(data)
		for _, f := range t.forms {
			in := folded
			if strings.HasPrefix(f.name, "base64") {
				in = data
			}
			for key, marker := range f.in(in) {
				found = append(found, fmt.Sprintf("%s in %s at %d as %s", marker, filepath.Base(path), key, f.name))
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// lower returns a copy in lower case, of any bytes. It is excluded from the race detector, under
// which a search would take as long as an erasure may.
//
//go:norace
func lower(data []byte) []byte {
	b := bytes.Clone(data)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return b
}

// in returns the markers in data by offset.
func (f *form) in(data []byte) map[int]string {
	offsets := map[int]string{}
	length := len(f.encode(newMarker(rand.New(rand.NewPCG(0, 0)))))
	for at := 0; ; at++ {
		i := bytes.Index(data[at:], f.lead)
		if i < 0 || at+i+length > len(data) {
			return offsets
		}
		at += i
		if marker, ok := f.erase[string(data[at:at+length])]; ok {
			offsets[at] = marker
		}
	}
}

// checkAbsent fails if a file has a marker.
func (t *traces) checkAbsent(tb testing.TB, dir string) {
	tb.Helper()
	if found := t.find(tb, dir); len(found) > 0 {
		tb.Fatalf("found %d traces of %d markers, such as %s", len(found), len(t.forms[0].erase), found[0])
	}
}

// TestTracesAreFound checks that markers are found in each encoding at any offset.
func TestTracesAreFound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, f := range newTraces().forms {
		if len(f.lead) < 8 {
			t.Errorf("%s: the lead %q is short", f.name, f.lead)
		}
	}
	for _, before := range []string{"", "x", "xy", "xyz"} {
		marker := newMarker(random)
		upper := strings.ToUpper(marker)
		for name, data := range map[string][]byte{
			"UTF-8":       []byte(before + marker),
			"upper case":  []byte(before + upper),
			"UTF-16LE":    newTraces().forms[1].encode(before + upper),
			"UTF-16BE":    newTraces().forms[2].encode(before + marker),
			"base64":      []byte(base64.StdEncoding.EncodeToString([]byte(before + marker + "end"))),
			"base64 more": []byte("=" + base64.RawStdEncoding.EncodeToString([]byte(before+marker))),
		} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "f"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			traces := newTraces()
			traces.add(newMarker(random))
			if found := traces.find(t, dir); len(found) != 0 {
				t.Errorf("%s: found another marker, %v", name, found)
			}
			traces.add(marker)
			found := traces.find(t, dir) // a marker in UTF-16 may be found in both byte orders
			if len(found) == 0 || len(found) > 2 {
				t.Errorf("%s after %q: found %v", name, before, found)
			}
		}
	}
}
