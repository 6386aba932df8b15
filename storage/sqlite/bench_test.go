package sqlite

import (
	"testing"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/storagetest"
)

func BenchmarkStore(b *testing.B) {
	storagetest.Bench(b, func(b *testing.B, durable bool, observe func(calls int)) im.Store {
		options := Options{Synchronous: "normal"}
		if durable {
			options.Synchronous = "full"
		}
		if observe != nil {
			options.Observe = func(s BatchStats) { observe(s.Calls) }
		}
		return openNew(b, options)
	})
}
