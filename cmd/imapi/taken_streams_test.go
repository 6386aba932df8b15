package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imapi/imapi/internal/await"
)

// TestStreamsOverHTTP1 checks streams whose connections are hijacked from the HTTP server, with and
// without TLS: the response, that events arrive, that disconnected clients are noticed although
// nothing is written, and that a shutdown ends the streams properly.
func TestStreamsOverHTTP1(t *testing.T) {
	t.Parallel()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	overBoth(t, newRacedServer, protocols, func(t *testing.T, s *server, url string, browser *http.Client) {
		secret := readSecret(t, s.data)
		do := func(user, method, path, body string) *http.Response {
			t.Helper()
			req, _ := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
			req.Header.Set("Authorization", "Bearer "+mintFor(t, secret, user))
			req.Header.Set("Content-Type", "application/json")
			res, err := browser.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = res.Body.Close() })
			return res
		}
		open := regexp.MustCompile(`(?m)^imapi_streams (\d+)$`)
		streams := func() string {
			b, err := io.ReadAll(do("bob", http.MethodGet, "/metrics", "").Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(open.FindSubmatch(b)[1])
		}

		const most = 32 // streams of a user; more can be opened only once the server notices disconnected ones
		for range 3 {
			var left []*http.Response
			for i := range most / 2 {
				res := do("bob", http.MethodGet, "/v1/events", "")
				if res.StatusCode != http.StatusOK || !slices.Equal(res.TransferEncoding, []string{"chunked"}) || !res.Close {
					t.Fatalf("stream %d: %s, %v, close %t", i, res.Status, res.TransferEncoding, res.Close)
				}
				left = append(left, res)
			}
			for _, res := range left {
				_ = res.Body.Close()
			}
			await.Until(t, "the streams that were left have ended", func() bool { return streams() == "0" })
		}

		stream := do("bob", http.MethodGet, "/v1/events", "")
		lines := bufio.NewScanner(stream.Body)
		next := func(want string) {
			t.Helper()
			for lines.Scan() {
				if lines.Text() == want {
					return
				}
			}
			t.Fatalf("the stream ended before %q: %v", want, lines.Err())
		}
		next("event: ready")
		for i := range 20 {
			res := do("alice", http.MethodPost, "/v1/conversations/@bob/messages", fmt.Sprintf(`{"type":"text","body":{"text":"%d"}}`, i))
			if res.StatusCode != http.StatusCreated {
				t.Fatalf("message %d: %s", i, res.Status)
			}
			next("event: message.created")
		}
		if n := streams(); n != "1" {
			t.Errorf("%s streams are open, want 1", n)
		}
		if err := s.stop(); err != nil {
			t.Errorf("the server ended with %v; log:\n%s", err, s.log)
		}
		for lines.Scan() {
		}
		if err := lines.Err(); err != nil {
			t.Errorf("the stream was torn, not ended: %v", err)
		}
	})
}

// TestStreamOverHTTP10 checks that a client or proxy that does not support chunks gets none.
func TestStreamOverHTTP10(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	defer n.stop()
	c := dial(t, n.addr)
	c.in = nil
	req := request(http.MethodGet, "/v1/events", mintFor(t, n.secret, "bob"))
	req = append([]byte(strings.Replace(string(req), "HTTP/1.1", "HTTP/1.0", 1)), "\r\n"...)
	if _, err := c.Write(req); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len("retry: "))
	if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "retry: " || len(res.TransferEncoding) > 0 {
		t.Errorf("the body begins with %q, %v, encoding %v", b, err, res.TransferEncoding)
	}
	_ = c.Close()
	await.Until(t, "the stream has ended", func() bool { return n.hub.Streams() == 0 })
}
