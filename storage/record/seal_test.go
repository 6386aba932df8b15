package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/record"
)

func ExampleSeal() {
	key, store := im.Key{1}, im.StoreID{2}
	sealed := record.Seal(nil, key, store, 256, []byte("hello"))
	content, err := record.Unseal(nil, key, store, 256, sealed)
	fmt.Printf("%s %v\n", content, err)
	_, err = record.Unseal(nil, key, store, 257, sealed)
	fmt.Println(err)
	// Output:
	// hello <nil>
	// sealed content is damaged or belongs to another slot
}

// TestSealBinds checks that content can be unsealed only with its own key, in its own slot and
// store, and that every changed or missing byte is detected.
func TestSealBinds(t *testing.T) {
	key, store, slot := im.Key{1, 2}, im.StoreID{3}, im.Slot(300)
	content := []byte(`{"type":"text","body":{"text":"hello"}}`)
	sealed := record.Seal(nil, key, store, slot, content)
	if len(sealed) != len(content)+record.Overhead || bytes.Contains(sealed, []byte("hello")) {
		t.Errorf("Seal of %d bytes = %q", len(content), sealed)
	}
	refused := func(what string, key im.Key, store im.StoreID, slot im.Slot, sealed []byte) {
		t.Helper()
		if got, err := record.Unseal(nil, key, store, slot, sealed); !errors.Is(err, record.ErrSealed) || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	refused("another key", im.Key{1, 3}, store, slot, sealed)
	refused("another store", key, im.StoreID{4}, slot, sealed)
	refused("another slot", key, store, slot+1, sealed)
	refused("nothing", key, store, slot, nil)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refused(fmt.Sprint("byte ", i), key, store, slot, changed)
		refused(fmt.Sprint("cut off at ", i), key, store, slot, sealed[:i])
	}
}

func BenchmarkSeal(b *testing.B) {
	content := make([]byte, 300)
	key, store := im.Key{1}, im.StoreID{2}
	var sealed []byte
	b.Run("Seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealed = record.Seal(sealed[:0], key, store, 1, content)
		}
	})
	b.Run("Unseal", func(b *testing.B) {
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			var err error
			if out, err = record.Unseal(out[:0], key, store, 1, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}
