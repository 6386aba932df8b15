package sqlite

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imapi/imapi/im"
)

// BenchmarkSendWrites sends from 64 callers to 64 conversations and reports the cost of a message:
// bytes written and system calls (for log, database, keys and search index), statements, and the
// growth of the database.
func BenchmarkSendWrites(b *testing.B) {
	for _, kind := range []string{"direct", "group"} {
		b.Run(kind, func(b *testing.B) {
			var statements atomic.Int64
			s := openNew(b, Options{fault: func(s *session, query string) error {
				if s.role == writing && query != "BEGIN IMMEDIATE" && query != "COMMIT" {
					statements.Add(1)
				}
				return nil
			}})
			service := im.NewService(s, im.Policy{MaxMessageBytes: 1 << 16, MaxMembers: 10}, nil)
			const callers = 64
			body := []byte(fmt.Sprintf(`{"text":%q}`, strings.Repeat("words of a message ", 5)))
			send := func(caller, n int, ref im.ConversationRef) im.ID {
				actor := im.Actor{User: im.UserID(fmt.Sprint("user ", caller)), Device: "phone"}
				draft := im.Draft{ClientID: fmt.Sprintf("%08x-%d", uint32(n)*2654435761, caller), Type: im.Text, Body: body}
				sent, err := service.Send(b.Context(), actor, ref, draft)
				if err != nil {
					b.Error(err)
				}
				return sent.Message.Conversation
			}
			refs := make([]im.ConversationRef, callers)
			for i := range refs {
				peer := im.UserID(fmt.Sprint("peer ", i))
				if kind == "direct" {
					refs[i] = im.ConversationRef{ID: send(i, 0, im.ConversationRef{Peer: peer})}
					continue
				}
				c, err := service.CreateGroup(b.Context(), im.Actor{User: im.UserID(fmt.Sprint("user ", i))}, im.GroupDraft{Name: "a group", Members: []im.UserID{peer}})
				if err != nil {
					b.Fatal(err)
				}
				refs[i] = im.ConversationRef{ID: c.Conversation.ID}
			}
			statements.Store(0)
			bytes, calls := written(b)
			b.ResetTimer()
			var wg sync.WaitGroup
			var next atomic.Int64
			for i := range refs {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						send(i, int(n), refs[i])
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			bytesAfter, callsAfter := written(b)
			per := func(n int64) float64 { return float64(n) / float64(b.N) }
			b.ReportMetric(per(bytesAfter-bytes)/1000, "KB-written/op")
			b.ReportMetric(per(callsAfter-calls), "writes/op")
			b.ReportMetric(per(statements.Load()), "statements/op")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			info, err := os.Stat(s.path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(per(info.Size()), "B-kept/op")
		})
	}
}

// written returns the numbers of bytes that the process has written and of its write calls.
func written(b *testing.B) (bytes, calls int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip("/proc/self/io does not exist")
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "wchar: %d", &bytes)
		_, _ = fmt.Sscanf(line, "syscw: %d", &calls)
	}
	return bytes, calls
}
