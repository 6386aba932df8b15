package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestRateByDefault checks that the default server limits a user to 100 requests a second
// with bursts of 200, and that it counts refusals.
func TestRateByDefault(t *testing.T) {
	t.Parallel()
	if c, err := parseConfig(nil, io.Discard); err != nil || c.rate != 100 || c.trustedProxies != nil {
		t.Errorf("by default %v, %v, %v", c.rate, c.trustedProxies, err)
	}
	s := startServer(t, "--rate", "0.001/s", "--trusted-proxies", "10.0.0.1, ::1/128")
	get := func(path, token string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, "http://"+s.addr+path, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	alice := s.token("alice")
	for _, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		if status, body := get("/v1/blocks", alice); status != want {
			t.Errorf("got %d %s, want %d", status, body, want)
		}
	}
	for _, want := range []int{http.StatusUnauthorized, http.StatusTooManyRequests} {
		if status, body := get("/v1/blocks", "x"); status != want {
			t.Errorf("got %d %s, want %d", status, body, want)
		}
	}
	_, counters := get("/metrics", "")
	for _, by := range []string{"user", "address"} {
		if line := `imapi_rate_limited_total{by="` + by + `"} 1`; !strings.Contains(counters, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// TestRateOfCommands checks that commands have a limit of their own, 20 a second by default, which
// applies neither to messages nor to admins.
func TestRateOfCommands(t *testing.T) {
	t.Parallel()
	if c, err := parseConfig(nil, io.Discard); err != nil || c.commandRate != 20 {
		t.Errorf("by default %v, %v", c.commandRate, err)
	}
	s := startServer(t, "--command-rate", "0.001/s")
	send := func(token, body string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(http.MethodPost, "http://"+s.addr+"/v1/conversations/@bob/messages", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode, res.Header.Get("Retry-After")
	}
	const message, command = `{"type":"text","body":{"text":"hi"}}`, `{"type":"command","body":{"action":"typing"}}`
	alice, admin := s.token("alice"), s.token("alice", "--admin")
	for _, c := range []struct {
		name, token, body string
		want              int
	}{
		{"a message", alice, message, http.StatusCreated},
		{"a command", alice, command, http.StatusAccepted},
		{"a second command", alice, command, http.StatusTooManyRequests},
		{"a message after the commands", alice, message, http.StatusCreated},
		{"a command of an admin", admin, command, http.StatusAccepted},
		{"a second command of an admin", admin, command, http.StatusAccepted},
	} {
		status, wait := send(c.token, c.body)
		if status != c.want {
			t.Errorf("%s: got %d, want %d", c.name, status, c.want)
		}
		if seconds, _ := strconv.Atoi(wait); (status == http.StatusTooManyRequests) != (seconds > 0) {
			t.Errorf("%s: Retry-After %q with %d", c.name, wait, status)
		}
	}
}
