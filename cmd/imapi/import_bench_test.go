package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// BenchmarkImport imports b.N messages through a running server over HTTP and reads each
// answer: "new" imports messages of another system in 8 conversations, with a client_id and
// no id; "again" repeats them. The client runs on the same machine.
func BenchmarkImport(b *testing.B) {
	n := startNode(b)
	defer n.stop()
	round, most := 0, 0
	b.Run("new", func(b *testing.B) {
		round, most = round+1, b.N
		importMessages(b, n, round, b.N)
	})
	b.Run("again", func(b *testing.B) { importMessages(b, n, round, min(b.N, most)) })
}

// importMessages imports messages that differ from those of other rounds.
func importMessages(b *testing.B, n *benchNode, round, count int) {
	b.Helper()
	cpu := cpuTime(b)
	body, send := io.Pipe()
	began := time.Now()
	go func() {
		out := bufio.NewWriterSize(send, 64<<10)
		for i := range count {
			_, _ = fmt.Fprintf(out, `{"conversation_id":"@peer-%d","sender":"alice","client_id":"c-%d-%d","type":"text","body":{"text":"What was said the %dth time is about as long as what people say."},"created_at":"2025-01-02T03:%02d:%02d.%03dZ"}`+"\n",
				i%8, round, i, i, i/60000%60, i/1000%60, i%1000)
		}
		_ = send.CloseWithError(out.Flush())
	}()
	req, err := http.NewRequest(http.MethodPost, n.control.URL+"/v1/admin/import", body)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.control.Key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answers := 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); answers++ {
		if lines.Bytes()[len(lines.Bytes())-1] != '}' {
			b.Fatalf("answer %q", lines.Bytes())
		}
	}
	if answers != count {
		b.Fatalf("%d of %d lines were answered: %s", answers, count, res.Status)
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(count), "cpu-µs/message")
	b.ReportMetric(float64(count)/time.Since(began).Seconds(), "messages/s")
}
