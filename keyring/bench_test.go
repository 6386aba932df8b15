package keyring

import "testing"

// BenchmarkRing measures what sealing adds to a send, and reading to a page of 50.
func BenchmarkRing(b *testing.B) {
	content := make([]byte, 300)
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
	b.Run("Seal", func(b *testing.B) {
		r := begin(b)
		b.ReportAllocs()
		for b.Loop() {
			s, key, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			Seal(nil, key, testStore, s, content)
		}
	})
	b.Run("Unseal50", func(b *testing.B) {
		r := begin(b)
		var slots []Slot
		var sealed [][]byte
		for range 50 {
			s, key, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			slots, sealed = append(slots, s), append(sealed, Seal(nil, key, testStore, s, content))
		}
		b.ReportAllocs()
		for b.Loop() {
			for i, s := range slots {
				key, err := r.Key(s)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Unseal(nil, key, testStore, s, sealed[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("Shred100", func(b *testing.B) {
		r := begin(b)
		list := make([]Shredding, 100)
		for b.Loop() {
			for i := range list {
				s, _, err := r.Next()
				if err != nil {
					b.Fatal(err)
				}
				list[i] = Shredding{s, Revoked}
			}
			if err := r.Shred(list); err != nil {
				b.Fatal(err)
			}
		}
	})
}
