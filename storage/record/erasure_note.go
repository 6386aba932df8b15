package record

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/imapi/imapi/im"
)

// note is what who revoked a message left in its place.
type note struct {
	Postscript string `json:"postscript"`
	// Extension is any JSON value but null.
	Extension json.RawMessage `json:"extension"`
}

// ErrNote is met in what is no note, or an extension that is no JSON. It does not quote
// it.
var ErrNote = errors.New("what stands in place of a message cannot be read or written")

// Note returns what an erasure says as it is sealed, nil if it says nothing. The error is
// [ErrNote].
func Note(e im.Erasure) ([]byte, error) {
	if e.Postscript == "" && len(e.Extension) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // the extension is kept as it is
	if err := encoder.Encode(note{e.Postscript, e.Extension}); err != nil {
		return nil, ErrNote
	}
	return b.Bytes(), nil
}

// ReadNote puts what [Note] wrote into the erasure. The error is [ErrNote].
func ReadNote(data []byte, e *im.Erasure) error {
	var n note
	if err := json.Unmarshal(data, &n); err != nil {
		return ErrNote
	}
	e.Postscript = n.Postscript
	if string(n.Extension) != "null" {
		e.Extension = n.Extension
	}
	return nil
}
