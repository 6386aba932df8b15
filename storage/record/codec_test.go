package record_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// codec encodes and decodes one type of value as it is stored in a row.
type codec[T any] struct {
	encode func(T) ([]byte, error)
	decode func([]byte) (T, error)
}

// roundTrip encodes a value, decodes it, fails the test if the result differs, and returns
// the encoded bytes.
func (c codec[T]) roundTrip(t *testing.T, want T, options ...cmp.Option) []byte {
	t.Helper()
	data, err := c.encode(want)
	if err != nil {
		t.Fatalf("encode %+v: %v", want, err)
	}
	got, err := c.decode(data)
	if err != nil {
		t.Fatalf("decode %q: %v", data, err)
	}
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("decoding %q changed the value (-want +got):\n%s", data, diff)
	}
	return data
}

// fuzz decodes arbitrary bytes, as a damaged row may hold. If they are a valid record, the
// value must survive a round trip, and then pass the check, which may be nil.
func (c codec[T]) fuzz(t *testing.T, data []byte, check func(value T, encoded []byte), options ...cmp.Option) {
	t.Helper()
	value, err := c.decode(data)
	if err != nil {
		return
	}
	encoded := c.roundTrip(t, value, options...)
	if check != nil {
		check(value, encoded)
	}
}
