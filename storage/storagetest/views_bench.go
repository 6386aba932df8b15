package storagetest

import (
	"fmt"
	"testing"

	"github.com/imapi/imapi/im"
)

// benchList measures the first page of 50 of a thousand conversations.
func benchList(b *testing.B, open Engine) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("conversations=%d", n), func(b *testing.B) {
			w := newWorld(b, open(b, false, nil))
			for range n {
				w.fill(w.group(im.HistoryAll, "alice", "bob"), 10, func(int) im.UserID { return "bob" })
			}
			q := im.ConversationQuery{User: "alice", AsOf: w.now, Limit: 50}
			b.ResetTimer()
			for b.Loop() {
				if got := w.list(q); len(got) != min(n, 50) {
					b.Fatalf("%d are listed", len(got))
				}
			}
		})
	}
}
