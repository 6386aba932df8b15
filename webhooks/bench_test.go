package webhooks_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// BenchmarkDeliver measures sequential deliveries of messages of a direct conversation to a
// receiver on the same machine.
func BenchmarkDeliver(b *testing.B) {
	w := newWorld(b, true)
	r := newReceiver(b, nil)
	id := w.hook(r.url, im.MessageCreated).ID
	w.set(id, false)
	for i := range b.N {
		w.say(fmt.Sprint("text ", i))
	}
	b.ResetTimer()
	w.set(id, true)
	for len(r.all()) < b.N {
		time.Sleep(time.Millisecond)
	}
}
