package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/storage"
)

func readSecret(t testing.TB, data string) []byte {
	t.Helper()
	secret, err := auth.LoadOrCreateSecret(filepath.Join(data, secretFile))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func mintFor(t testing.TB, secret []byte, user string) string {
	t.Helper()
	token, err := auth.Mint(secret, auth.Grant{User: im.UserID(user), TTL: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestFirstStartCreatesWhatItNeeds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	token := s.token("alice")
	for path, mode := range map[string]os.FileMode{
		s.data:                              0o700,
		filepath.Join(s.data, secretFile):   0o600,
		filepath.Join(s.data, "imapi.db"):   0o600,
		filepath.Join(s.data, "imapi.lock"): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s is %v, want %v", path, info.Mode().Perm(), mode)
		}
	}
	if _, err := s.clientWith(token, "").ListConversationsWithResponse(context.Background(), &client.ListConversationsParams{}); err != nil {
		t.Error(err)
	}
	await.Until(t, "the greeting is printed", func() bool { return strings.Contains(s.out.String(), "the demo") })
	for _, want := range []string{"listens on http://" + s.addr, "token --user alice --data " + s.data, "the demo: http://" + s.addr + "/"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("the greeting lacks %q:\n%s", want, s.out)
		}
	}
}

func TestDataDirectoryHasOneOwner(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	second := exec.Command(s.bin, "serve", "--listen", "127.0.0.1:0", "--data", s.data)
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), s.data) {
		t.Errorf("a second server on the same data: %v, %s", err, out)
	}
	if s.token("alice") == "" {
		t.Error("no token while the server runs")
	}
}

func TestSIGTERMDrainsWithStreamsOpen(t *testing.T) {
	t.Parallel()
	s := newRacedServer(t)
	s.start()
	ctx := context.Background()
	token := s.token("bob")
	var streams []io.ReadCloser
	for range 10 {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/v1/events", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, res.Body)
	}
	dataStream, push := openDataStream(t, s, token)
	if err := s.stop(); err != nil {
		t.Errorf("the server ended with %v; log:\n%s", err, s.log)
	}
	if b, err := io.ReadAll(dataStream); err != nil || !bytes.HasSuffix(b, []byte("event: stream.ended\ndata: {\"reason\":\"server\"}\n\n")) {
		t.Errorf("the reader of a data stream got %q, %v", b, err)
	}
	if status := <-push; status != http.StatusServiceUnavailable {
		t.Errorf("the request that pushes was answered %d", status)
	}
	if strings.Contains(s.log.String(), "requests were cut off") {
		t.Errorf("the streams did not end by themselves; log:\n%s", s.log)
	}
	for _, body := range streams {
		b, err := io.ReadAll(body)
		if err != nil {
			t.Errorf("a stream was torn, not ended: %v", err)
		}
		if !bytes.Contains(b, []byte("event: ready")) {
			t.Errorf("the stream was %q", b)
		}
	}
	s.start()
}

// TestLogHoldsNoContentAndNoSecrets makes requests of all kinds while the server logs at the most
// verbose level, and searches the log for their content and secrets.
func TestLogHoldsNoContentAndNoSecrets(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			s := startServer(t, "--log-format", format)
			token := s.token("marker-user-alice")
			c := s.clientWith(token, "marker-device")
			ctx := context.Background()
			if _, err := say(ctx, c, "@bob", "marker-client", "marker-content"); err != nil {
				t.Fatal(err)
			}
			ticket, err := c.CreateTicketWithResponse(ctx, &client.CreateTicketParams{})
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{
				"/v1/events?cursor=marker-cursor&ticket=" + ticket.JSON201.Ticket,
				"/v1/events?ticket=marker-ticket", "/v1/marker-path?marker=query", "/v1/conversations/@marker-peer",
			} {
				res, err := http.Get("http://" + s.addr + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
			}
			bad, _ := http.NewRequest(http.MethodPost, "http://"+s.addr+"/v1/conversations/@bob/messages", strings.NewReader(`{"type":"text","body":{"marker-member":"marker-value"}}`))
			bad.Header.Set("Authorization", "Bearer "+token)
			bad.Header.Set("Content-Type", "application/json")
			if res, err := http.DefaultClient.Do(bad); err == nil {
				_ = res.Body.Close()
			}
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			log := s.log.String() + s.out.String()
			if !strings.Contains(log, "sendMessage") {
				t.Fatalf("nothing was logged:\n%s", log)
			}
			for _, secret := range []string{"marker", token, ticket.JSON201.Ticket, strings.Split(token, ".")[2]} {
				if strings.Contains(log, secret) {
					t.Errorf("the log holds %q:\n%s", secret, log)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client("alice", "")
	live := follow(t.Context(), t, s.client("bob", ""))
	if _, err := say(context.Background(), c, "@bob", "", "x"); err != nil {
		t.Fatal(err)
	}
	<-live
	<-live
	want := []*regexp.Regexp{
		regexp.MustCompile(`(?m)^imapi_requests_total{operation="sendMessage",status="201"} 1$`),
		regexp.MustCompile(`(?m)^imapi_commit_batch_size_count [1-9]`),
		regexp.MustCompile(`(?m)^imapi_commit_duration_seconds_count [1-9]`),
		regexp.MustCompile(`(?m)^imapi_streams 1$`),
		regexp.MustCompile(`(?m)^imapi_events_delivered_total 2$`),
		regexp.MustCompile(`(?m)^imapi_event_lag_seconds_count 2$`),
		regexp.MustCompile(`(?m)^imapi_build_info{version="dev"} 1$`),
	}
	// A stream is counted only after it has written.
	await.Until(t, "the metrics are complete", func() bool {
		res, err := http.Get("http://" + s.addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(want, func(line *regexp.Regexp) bool { return !line.Match(b) })
	})
	side := startServer(t, "--metrics-listen", "127.0.0.1:0")
	if res, err := http.Get("http://" + side.addr + "/metrics"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("metrics are served on the main address too: %v %v", res, err)
	}
}

// TestStartsWhateverTheReadLimit checks that the shortest --read-limit does not prevent a start,
// however much there is to read.
func TestStartsWhateverTheReadLimit(t *testing.T) {
	t.Parallel()
	const cuts = 5000
	s := newServer(t, "--read-limit", "1ns")
	store, err := storage.Open(t.Context(), "", storage.Options{DataDir: s.data, Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Write(t.Context(), func(tx im.Tx) error {
		for i := range cuts {
			cut := im.TokenCut{User: im.UserID(fmt.Sprint("user", i)), At: time.Now().Add(time.Hour)}
			if err := tx.CutTokens(cut); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	s.start()
	for _, user := range []string{"user0", "user4999"} {
		if status, answer := s.device(user, "").ask(http.MethodGet, "/v1/conversations", ""); status != http.StatusUnauthorized ||
			!strings.Contains(string(answer), "token_cut_off") {
			t.Errorf("%s: %d %s", user, status, answer)
		}
	}
	if status, answer := s.device("alice", "").ask(http.MethodGet, "/v1/conversations", ""); status != http.StatusServiceUnavailable {
		t.Errorf("a read of a request: %d %s", status, answer)
	}
}

// TestClockGuard checks that a server whose clock jumped ahead reports that wherever an operator
// may look.
func TestClockGuard(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--clock-guard", "90m")
	store, err := storage.Open(t.Context(), "", storage.Options{DataDir: s.data, Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Write(t.Context(), func(tx im.Tx) error { return tx.PutClockSeen(time.Now().Add(-48 * time.Hour)) })
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	s.start()
	var ready struct {
		Status  string
		Details struct {
			Jumped int64 `json:"clock_jumped_seconds"`
			Held   int64 `json:"removal_held_seconds"`
		}
	}
	status, answer := s.device("alice", "").ask(http.MethodGet, "/readyz", "")
	if err := json.Unmarshal(answer, &ready); err != nil || status != http.StatusOK || ready.Status != "ok" ||
		ready.Details.Jumped < 48*3600 || ready.Details.Held < 3600 || ready.Details.Held > 90*60 {
		t.Errorf("readyz: %d %s", status, answer)
	}
	_, answer = s.device("alice", "").ask(http.MethodGet, "/metrics", "")
	if text := string(answer); !strings.Contains(text, "\nimapi_clock_guard_seconds 5") { // and some digits more
		t.Errorf("metrics: %s", text)
	}
	if status, _, diag := s.command("", "retention"); status != 1 || !strings.Contains(diag, "clock_jumped") {
		t.Errorf("imapi retention: exit %d: %s", status, diag)
	}
	await.Until(t, "the log says that the clock jumped", func() bool {
		return strings.Contains(s.log.String(), "THE CLOCK JUMPED AHEAD")
	})
}
