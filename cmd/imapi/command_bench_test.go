package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkCommand sends one command at a time to a server in a process of its own and measures
// the time from the request until another user's stream has the frame.
func BenchmarkCommand(b *testing.B) {
	s := startServer(b, "--command-rate", "0", "--log-level", "info")
	defer s.kill()
	alice, bob := dial(b, s.addr), dial(b, s.addr)
	post := func(token, body string) []byte {
		r := request(http.MethodPost, "/v1/conversations/@bob/messages", token,
			"Content-Type", "application/json", "Content-Length", fmt.Sprint(len(body)))
		return append(append(r, "\r\n"...), body...)
	}
	token := s.token("alice")
	if err := alice.expect(http.StatusCreated, post(token, `{"type":"text","body":{"text":"hi"}}`)); err != nil {
		b.Fatal(err)
	}
	if _, err := bob.Write(append(request(http.MethodGet, "/v1/events", s.token("bob")), "\r\n"...)); err != nil {
		b.Fatal(err)
	}
	// until reads the stream up to the end of an event of a type.
	until := func(event string) {
		for found := false; ; {
			line, err := bob.in.ReadString('\n')
			if err != nil {
				b.Fatal(err)
			}
			line = strings.TrimSpace(line)
			if found = found || line == "event: "+event; found && strings.HasPrefix(line, "data: ") {
				return
			}
		}
	}
	until("ready")
	typing := post(token, `{"type":"command","body":{"action":"typing"}}`)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := alice.Write(typing); err != nil {
			b.Fatal(err)
		}
		until("command")
		took = append(took, time.Since(began))
		if err := alice.expect(http.StatusAccepted, nil); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
