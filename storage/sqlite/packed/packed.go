package packed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	_ "github.com/imapi/imapi/storage/sqlite/supported" // fails with an explanation without cgo
)

// Register adds the function pack to all connections that the process opens from then on.
var Register = sync.OnceValue(func() error {
	if code := register(); code != 0 {
		return fmt.Errorf("register pack: SQLite error %d", code)
	}
	return nil
})

// Query returns a statement that returns the rows of query, which have the given number of columns,
// as one blob; NULL if there are none. query is a SELECT; the order of its rows is kept.
func Query(query string, columns int) string {
	names := make([]string, columns)
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	list := strings.Join(names, ", ")
	return "WITH rows (" + list + ") AS (" + query + ") SELECT pack(" + list + ") FROM rows"
}

// Shape returns a statement with the columns of query and without rows.
func Shape(query string) string { return "SELECT * FROM (" + query + ") WHERE false" }

// Kind is the type of a value.
type Kind uint8

// The kinds of values, as SQLite numbers them.
const (
	Integer Kind = 1
	Text    Kind = 3
	Blob    Kind = 4
	Null    Kind = 5
)

// Value is a value of a row.
type Value struct {
	Kind Kind
	// Int is the number of an Integer.
	Int int64
	// Bytes holds a Text or Blob. It is part of the packed rows, and must not be changed.
	Bytes []byte
	// Text is a Text as a string. It shares the memory of all rows.
	Text string
}

// ErrMalformed reports bytes that pack did not write.
var ErrMalformed = errors.New("packed rows are malformed")

// Rows decodes packed rows, value by value.
type Rows struct {
	data []byte
	text string // data
	at   int
}

// NewRows returns the rows of a blob. The blob must not change afterwards: texts share its memory.
func NewRows(blob []byte) *Rows {
	return &Rows{data: blob, text: unsafe.String(unsafe.SliceData(blob), len(blob))} //nolint:gosec // see above
}

// More reports whether there are more values.
func (r *Rows) More() bool { return r.at < len(r.data) }

// Next returns the next value. The error is [ErrMalformed].
func (r *Rows) Next() (v Value, err error) {
	if !r.More() {
		return v, ErrMalformed
	}
	v.Kind = Kind(r.data[r.at])
	r.at++
	if v.Kind == Null {
		return v, nil
	}
	n, err := r.number()
	if err != nil {
		return v, err
	}
	switch v.Kind {
	case Integer:
		v.Int = int64(n>>1) ^ -int64(n&1)
	case Text, Blob:
		if n > uint64(len(r.data)-r.at) {
			return v, ErrMalformed
		}
		end := r.at + int(n)
		v.Bytes, v.Text = r.data[r.at:end:end], r.text[r.at:end]
		r.at = end
	default:
		return v, ErrMalformed
	}
	return v, nil
}

// number reads a number as pack encodes it. The error is [ErrMalformed].
func (r *Rows) number() (uint64, error) {
	if r.at < len(r.data) && r.data[r.at] < 0x80 { // most have one byte
		r.at++
		return uint64(r.data[r.at-1]), nil
	}
	n, size := binary.Uvarint(r.data[r.at:])
	if size <= 0 {
		return 0, ErrMalformed
	}
	r.at += size
	return n, nil
}
