package search

import "testing"

// BenchmarkDocument measures the entries of a message of typical length.
func BenchmarkDocument(b *testing.B) {
	h := NewHasher(nil)
	for name, text := range map[string]string{
		"words":      "a message of a usual length, neither short nor long",
		"characters": "我家在上海东边，离地铁站很近",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Document(text, 1, 0)
			}
		})
	}
}
