package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

func TestNoteComesBack(t *testing.T) {
	for _, want := range []im.Erasure{
		{Postscript: "sorry"},
		{Postscript: `"<&>` + "\u2028"},
		{Extension: json.RawMessage(`{"why":"<typo>","n":[1,2.50]}`)},
		{Extension: json.RawMessage(`false`)},
		{Postscript: "both", Extension: json.RawMessage(`"text"`)},
	} {
		data, err := record.Note(want)
		if err != nil || data == nil {
			t.Errorf("%+v: %q, %v", want, data, err)
			continue
		}
		var got im.Erasure
		err = record.ReadNote(data, &got)
		if err != nil || got.Postscript != want.Postscript || string(got.Extension) != string(want.Extension) {
			t.Errorf("from %s came %+v, %v, not %+v", data, got, err, want)
		}
	}
	if data, err := record.Note(im.Erasure{State: im.Revoked, By: "alice"}); data != nil || err != nil {
		t.Errorf("of an erasure that says nothing: %q, %v", data, err)
	}
	// What is refused may be content: the error does not quote it.
	_, err := record.Note(im.Erasure{Extension: json.RawMessage(`{"secret"`)})
	if !errors.Is(err, record.ErrNote) || strings.Contains(err.Error(), "secret") {
		t.Errorf("of a broken extension: %v", err)
	}
	err = record.ReadNote([]byte(`{"postscript":"secret`), new(im.Erasure))
	if !errors.Is(err, record.ErrNote) || strings.Contains(err.Error(), "secret") {
		t.Errorf("of a broken note: %v", err)
	}
}

// FuzzReadNote: whatever was unsealed is read or refused, and what was read is written
// and read again as it was.
func FuzzReadNote(f *testing.F) {
	for _, seed := range []string{`{"postscript":"a","extension":{"b":1}}`, `{"postscript":"","extension":null}`, `{}`, `null`, `[]`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want, got im.Erasure
		if err := record.ReadNote(data, &want); err != nil {
			if !errors.Is(err, record.ErrNote) {
				t.Errorf("of %q: %v", data, err)
			}
			return
		}
		again, err := record.Note(want)
		if err != nil {
			t.Fatalf("%+v was read from %q, and cannot be written: %v", want, data, err)
		}
		if again == nil {
			if want.Postscript != "" || len(want.Extension) > 0 {
				t.Errorf("%+v, which came from %q, is taken for nothing", want, data)
			}
			return
		}
		if err := record.ReadNote(again, &got); err != nil {
			t.Fatalf("%q was written and cannot be read: %v", again, err)
		}
		if got.Postscript != want.Postscript || !bytes.Equal(compact(t, got.Extension), compact(t, want.Extension)) {
			t.Errorf("from %q came %+v and from %q %+v", data, want, again, got)
		}
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
