package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/imapi/imapi/im"
)

// BenchmarkReplayHTTP resumes one client 10,000 events back and reads until it has received
// the last.
func BenchmarkReplayHTTP(b *testing.B) {
	const count = 10_000
	n := startNode(b)
	defer n.stop()
	users := []im.UserID{"alice", "bob"}
	conversation := n.group(users)
	token := mintFor(b, n.secret, "bob")
	cursor := n.cursor(token)
	n.fill("alice", conversation, count)
	resume := append(request(http.MethodGet, "/v1/events", token, "Last-Event-ID", cursor), "\r\n"...)

	cpu := cpuTime(b)
	for b.Loop() {
		c := dial(b, n.addr)
		res, err := c.roundTrip(resume)
		if err != nil || res.StatusCode != http.StatusOK {
			b.Fatal(res, err)
		}
		in := make([]byte, 64<<10)
		rest, received := in[:0], 0
		for received < count {
			k, err := res.Body.Read(in[len(rest):])
			if err != nil {
				b.Fatal(err)
			}
			rest = in[:len(rest)+k]
			for {
				line, after, found := bytes.Cut(rest, []byte("\n"))
				if !found {
					break
				}
				if bytes.Equal(line, []byte("event: message.created")) {
					received++
				}
				rest = after
			}
			rest = in[:copy(in, rest)]
		}
		_ = c.Close()
	}
	b.ReportMetric(count*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/count/float64(b.N), "cpu-µs/event")
}

// cursor returns the cursor of the end of the log for a user.
func (n *benchNode) cursor(token string) string {
	n.b.Helper()
	c := dial(n.b, n.addr)
	defer func() { _ = c.Close() }()
	res, err := c.roundTrip(append(request(http.MethodGet, "/v1/events", token, "Accept", "application/json"), "\r\n"...))
	if err != nil {
		n.b.Fatal(err)
	}
	var page struct {
		Cursor string `json:"cursor"`
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		n.b.Fatal(err)
	}
	return page.Cursor
}
