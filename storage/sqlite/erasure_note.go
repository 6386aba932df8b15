package sqlite

import (
	"errors"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

// sealNote seals the note of an erasure. It returns nils if there is none.
func (t *tx) sealNote(e im.Erasure) (slot, sealed any, err error) {
	note, err := record.Note(e)
	if err != nil || note == nil {
		return nil, nil, err
	}
	return t.seal(note)
}

// readNote unseals a note into the erasure. A note whose key is shredded is left out.
func (r *reader) readNote(slot int64, sealed []byte, e *im.Erasure) error {
	if sealed == nil {
		return nil
	}
	note, err := r.unseal(slot, sealed)
	if errors.As(err, new(*im.ShreddedError)) {
		return nil
	}
	if err == nil && record.ReadNote(note, e) != nil {
		err = errContent // the cause may quote content
	}
	return err
}
