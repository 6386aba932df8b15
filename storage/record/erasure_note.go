package record

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/imapi/imapi/im"
)

// note is what a user who revokes a message may leave with the tombstone.
type note struct {
	Postscript string `json:"postscript"`
	// Extension is any JSON value but null.
	Extension json.RawMessage `json:"extension"`
	// The push notification about the revoke, for webhooks.
	PushContent string          `json:"push_content,omitempty"`
	PushPayload json.RawMessage `json:"push_payload,omitempty"`
}

// ErrNote reports a note that cannot be decoded, or whose JSON is not valid. It does not
// quote the note, which is content.
var ErrNote = errors.New("the note of an erased message is malformed")

// Note encodes the postscript, extension and push notification of an erasure. It returns nil
// if the erasure has none of them. The error is [ErrNote].
func Note(e im.Erasure) ([]byte, error) {
	if e.Postscript == "" && len(e.Extension) == 0 && e.Push.Content == "" && len(e.Push.Payload) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // keep the extension unchanged
	if err := encoder.Encode(note{e.Postscript, e.Extension, e.Push.Content, e.Push.Payload}); err != nil {
		return nil, ErrNote
	}
	return b.Bytes(), nil
}

// ReadNote decodes what [Note] encoded into the erasure. The error is [ErrNote].
func ReadNote(data []byte, e *im.Erasure) error {
	var n note
	if err := json.Unmarshal(data, &n); err != nil {
		return ErrNote
	}
	e.Postscript = n.Postscript
	if string(n.Extension) != "null" {
		e.Extension = n.Extension
	}
	e.Push = im.Push{Content: n.PushContent, Payload: n.PushPayload}
	return nil
}
