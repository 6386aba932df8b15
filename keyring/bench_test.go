package keyring

import (
	"testing"

	"github.com/imapi/imapi/im"
)

// BenchmarkRing measures the cost of keys for a send, for a page of 50 messages and for an erasure.
func BenchmarkRing(b *testing.B) {
	begin := func(b *testing.B) *Ring {
		path := b.TempDir() + "/keys"
		if err := Create(path, testStore); err != nil {
			b.Fatal(err)
		}
		r, err := Open(path, testStore)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = r.Close() })
		if err := r.Begin(0); err != nil {
			b.Fatal(err)
		}
		return r
	}
	b.Run("Next", func(b *testing.B) {
		r := begin(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Key50", func(b *testing.B) {
		r := begin(b)
		var slots []im.Slot
		for range 50 {
			s, _, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			slots = append(slots, s)
		}
		b.ReportAllocs()
		for b.Loop() {
			for _, s := range slots {
				if _, err := r.Key(s); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("Shred100", func(b *testing.B) {
		r := begin(b)
		list := make([]im.Shredding, 100)
		for b.Loop() {
			for i := range list {
				s, _, err := r.Next()
				if err != nil {
					b.Fatal(err)
				}
				list[i] = im.Shredding{Slot: s, Code: im.ShredRevoked}
			}
			if err := r.Shred(list); err != nil {
				b.Fatal(err)
			}
		}
	})
}
