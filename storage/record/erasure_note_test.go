package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

var notes = codec[im.Erasure]{
	encode: record.Note,
	decode: func(data []byte) (e im.Erasure, err error) {
		if data != nil {
			err = record.ReadNote(data, &e)
		}
		return e, err
	},
}

func TestNoteRoundTrip(t *testing.T) {
	for name, e := range map[string]im.Erasure{
		"postscript":         {Postscript: "sorry"},
		"escaped characters": {Postscript: `"<&>` + "\u2028"},
		"object":             {Extension: json.RawMessage(`{"why":"<typo>","n":[1,2.50]}`)},
		"false":              {Extension: json.RawMessage(`false`)},
		"both":               {Postscript: "both", Extension: json.RawMessage(`"text"`)},
	} {
		t.Run(name, func(t *testing.T) {
			if data := notes.roundTrip(t, e); data == nil {
				t.Error("the note was encoded as nil")
			}
		})
	}
}

func TestNoteOfErasureWithoutNote(t *testing.T) {
	if data, err := record.Note(im.Erasure{State: im.Revoked, By: "alice"}); data != nil || err != nil {
		t.Errorf("Note = %q, %v, want nil, nil", data, err)
	}
}

// TestNoteErrorsHoldNoContent checks that an error does not quote the note, which is
// content.
func TestNoteErrorsHoldNoContent(t *testing.T) {
	_, err := record.Note(im.Erasure{Extension: json.RawMessage(`{"secret"`)})
	if !errors.Is(err, record.ErrNote) || strings.Contains(err.Error(), "secret") {
		t.Errorf("encode a malformed extension: %v", err)
	}
	err = record.ReadNote([]byte(`{"postscript":"secret`), new(im.Erasure))
	if !errors.Is(err, record.ErrNote) || strings.Contains(err.Error(), "secret") {
		t.Errorf("decode a malformed note: %v", err)
	}
}

func FuzzReadNote(f *testing.F) {
	for _, seed := range []string{`{"postscript":"a","extension":{"b":1}}`, `{"postscript":"","extension":null}`, `{}`, `null`, `[]`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := record.ReadNote(data, new(im.Erasure)); err != nil && !errors.Is(err, record.ErrNote) {
			t.Errorf("decode %q: %v, want ErrNote", data, err)
		}
		sameJSON := cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(compact(t, a), compact(t, b)) })
		notes.fuzz(t, data, nil, sameJSON)
	})
}

func compact(t *testing.T, data json.RawMessage) []byte {
	t.Helper()
	if len(data) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
