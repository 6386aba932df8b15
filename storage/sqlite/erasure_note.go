package sqlite

import (
	"errors"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

// sealNote seals what an erasure says, and returns nils if it says nothing.
func (t *tx) sealNote(e im.Erasure) (slot, sealed any, err error) {
	note, err := record.Note(e)
	if err != nil || note == nil {
		return nil, nil, err
	}
	return t.seal(note)
}

// readNote puts what was sealed into the erasure, nothing if that is to be read no more.
func (r *reader) readNote(slot int64, sealed []byte, e *im.Erasure) error {
	if sealed == nil {
		return nil
	}
	note, err := r.unseal(slot, sealed)
	if errors.As(err, new(*im.ShreddedError)) {
		return nil
	}
	if err == nil && record.ReadNote(note, e) != nil {
		err = errContent // the cause may quote it
	}
	return err
}
