package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// openDataStream starts a data stream. It returns the response of a reader, and a channel for the
// status of a request that pushes to it until the server stops.
func openDataStream(t *testing.T, s *server, token string) (reading io.Reader, push chan int) {
	t.Helper()
	do := func(method, path, contentType string, body io.Reader) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+path, body)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", contentType)
		return http.DefaultClient.Do(req)
	}
	res, err := do(http.MethodPost, "/v1/streams", "application/json", strings.NewReader(`{"access":"anyone"}`))
	if err != nil {
		t.Fatal(err)
	}
	var started struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&started); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	path := "/v1/streams/" + started.ID
	reader, err := do(http.MethodGet, path+"/events", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Body.Close() })
	in, out := io.Pipe()
	t.Cleanup(func() { _ = out.Close() })
	push = make(chan int, 1)
	go func() {
		res, err := do(http.MethodPost, path+"/frames", "application/x-ndjson", in)
		if err != nil {
			push <- 0
			return
		}
		_ = res.Body.Close()
		push <- res.StatusCode
	}()
	if _, err := io.WriteString(out, `{"text":"x"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	first := bufio.NewReader(reader.Body)
	for line := ""; !strings.HasPrefix(line, "data:"); {
		if line, err = first.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return first, push
}

// TestStreamsOff checks that --streams=off refuses every operation of data streams.
func TestStreamsOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--streams=off")
	token := s.token("alice")
	for _, c := range [][2]string{
		{"POST", "/v1/streams"},
		{"GET", "/v1/streams"},
		{"GET", "/v1/streams/x"},
		{"DELETE", "/v1/streams/x"},
		{"POST", "/v1/streams/x/end"},
		{"POST", "/v1/streams/x/frames"},
		{"GET", "/v1/streams/x/events"},
		{"PUT", "/v1/streams/x/publishers/bob"},
		{"DELETE", "/v1/streams/x/readers/bob"},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), c[0], "http://"+s.addr+c[1], strings.NewReader(`{"access":"anyone"}`))
		if c[1] == "/v1/streams/x/end" {
			req.Body = http.NoBody
			req.ContentLength = 0
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden || !bytes.Contains(b, []byte("streams_off")) {
			t.Errorf("%s %s: %d %s", c[0], c[1], res.StatusCode, b)
		}
	}
}
