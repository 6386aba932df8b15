package sqlite

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/imapi/imapi/im"
)

// note is what who revoked a message left in its place, as it is stored in a
// row of contents.
type note struct {
	Postscript string `json:"postscript"`
	// Extension is any JSON value but null.
	Extension json.RawMessage `json:"extension"`
}

// insertNote stores what an erasure says, and returns the id of its row of
// contents, nil if it says nothing.
func (t *tx) insertNote(e im.Erasure) (id any, err error) {
	if e.Postscript == "" && len(e.Extension) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // the extension is kept as it is
	if err := encoder.Encode(note{e.Postscript, e.Extension}); err != nil {
		return nil, fmt.Errorf("an erasure's extension: %w", errContent) // the cause may quote it
	}
	return t.insertContent(b.Bytes())
}

// insertContent stores what a message or an erasure says and returns the id of
// its row.
func (t *tx) insertContent(data []byte) (int64, error) {
	res, err := t.session.exec("INSERT INTO contents (data) VALUES (?)", data)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// readNote puts what was stored into the erasure.
func readNote(data []byte, e *im.Erasure) error {
	if data == nil {
		return nil
	}
	var n note
	if err := json.Unmarshal(data, &n); err != nil {
		return errContent // the cause may quote it
	}
	e.Postscript = n.Postscript
	if string(n.Extension) != "null" {
		e.Extension = n.Extension
	}
	return nil
}
