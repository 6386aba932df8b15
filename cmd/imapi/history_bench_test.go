package main

import (
	"fmt"
	"net/http"
	"testing"
)

// BenchmarkHistoryHTTP reads pages of 50 messages over one connection: the newest ones and some in
// the middle, of a short and a long conversation. The long one takes half a minute to fill; -short
// leaves it out.
func BenchmarkHistoryHTTP(b *testing.B) {
	n := startNode(b, "--synchronous", "normal")
	defer n.stop()
	c := dial(b, n.addr)
	defer func() { _ = c.Close() }()
	users := benchUsers(2)
	token := mintFor(b, n.secret, string(users[0]))
	for _, count := range []int{1e3, 1e6} {
		if testing.Short() && count > 1e3 {
			continue
		}
		conversation := n.group(users)
		n.fill(users[0], conversation, count)
		path := "/v1/conversations/" + conversation.String() + "/messages?limit=50"
		for _, page := range []struct{ name, query string }{
			{"newest", ""},
			{"middle", fmt.Sprintf("&before_seq=%d", count/2)},
		} {
			req := append(request(http.MethodGet, path+page.query, token), "\r\n"...)
			b.Run(fmt.Sprintf("%d/%s", count, page.name), func(b *testing.B) {
				cpu := cpuTime(b)
				for b.Loop() {
					if err := c.expect(http.StatusOK, req); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/page")
			})
		}
	}
}
