package main

import (
	"bytes"
	"net/http"
	"runtime"
	"testing"

	"github.com/imapi/imapi/im"
)

// BenchmarkIdleStreamsHTTP measures the memory of 1,000 idle streams of 1,000 users in the process:
// connections with their buffers, goroutines with their stacks, the hub's part, and the verified
// tokens. The clients' ends are bare sockets, without buffers or goroutines. Kernel memory is not
// included.
func BenchmarkIdleStreamsHTTP(b *testing.B) {
	const streams = 1000
	n := startNode(b)
	defer n.stop()
	users := benchUsers(streams)
	for b.Loop() {
		before := memory()
		conns := openStreams(b, n, users)
		b.ReportMetric(float64(memory()-before)/streams, "bytes/stream")
		b.StopTimer()
		for _, c := range conns {
			_ = c.Close()
		}
		for n.hub.Streams() > 0 {
			runtime.Gosched()
		}
		b.StartTimer()
	}
}

// memory returns the bytes of reachable memory and of stacks.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// openStreams opens a stream for each user and reads up to its ready event.
func openStreams(b *testing.B, n *benchNode, users []im.UserID) []*benchConn {
	b.Helper()
	conns := make([]*benchConn, len(users))
	buf := make([]byte, 4<<10)
	for i, user := range users {
		c := dial(b, n.addr)
		c.in = nil // otherwise the clients' buffers would be counted
		req := append(request(http.MethodGet, "/v1/events", mintFor(b, n.secret, string(user))), "\r\n"...)
		if _, err := c.Write(req); err != nil {
			b.Fatal(err)
		}
		for got := []byte(nil); !bytes.Contains(got, []byte("event: ready")) || !bytes.HasSuffix(got, []byte("\n\n\r\n")); {
			k, err := c.Read(buf)
			if err != nil {
				b.Fatalf("%v after %q", err, got)
			}
			got = append(got, buf[:k]...)
		}
		conns[i] = c
	}
	return conns
}
