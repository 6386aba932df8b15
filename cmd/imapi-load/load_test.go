package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
)

// built is the path of the server's binary, once it is built.
var built string

// binary builds the server.
var binary = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "imapi-load-"); err != nil {
		return "", err
	}
	path := filepath.Join(built, "imapi")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", path, "../imapi").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

// server is the real server with its own data.
type server struct {
	t              testing.TB
	bin, url, data string
	process        *exec.Cmd
	log            *os.File
}

// startServer runs a server with more flags.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &server{t: t, bin: bin, data: filepath.Join(dir, "data")}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	greeting, err := os.Create(filepath.Join(dir, "greeting"))
	if err != nil {
		t.Fatal(err)
	}
	s.process = exec.Command(bin, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", s.data}, args...)...)
	s.process.Stdout, s.process.Stderr = greeting, s.log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.process.Process.Signal(os.Interrupt)
		if err := s.process.Wait(); err != nil {
			t.Errorf("the server ended: %v", err)
		}
		_ = greeting.Close()
		_ = s.log.Close()
	})
	address := regexp.MustCompile(`listens on (\S+)`)
	await.Until(t, "the server is ready", func() bool {
		text, err := os.ReadFile(greeting.Name())
		if err != nil {
			t.Fatal(err)
		}
		if found := address.FindSubmatch(text); found != nil {
			s.url = string(found[1])
			res, err := http.Get(s.url + "/readyz")
			if err != nil {
				return false
			}
			_ = res.Body.Close()
			return res.StatusCode == http.StatusOK
		}
		return false
	})
	return s
}

// token returns a token of a user.
func (s *server) token(user string, more ...string) string {
	s.t.Helper()
	out, err := exec.Command(s.bin, append([]string{"token", "--data", s.data, "--user", user}, more...)...).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// load runs the command and returns its exit status, its result and its messages.
func (s *server) load(ctx context.Context, args ...string) (status int, res result, diag string) {
	s.t.Helper()
	var out, said bytes.Buffer
	status = dispatch(ctx, append(args, "--server", s.url, "--json"), &out, &said)
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &res); err != nil {
			s.t.Fatalf("%v: %s", err, out.String())
		}
	}
	return status, res, said.String()
}

// undisturbed runs a load and the checks of its result, which report what is wrong to errorf. If the
// machine stood still meanwhile, connections may have been cut off, streams disconnected, and the
// duration may have been over before anything was done: then what is wrong does not fail the test,
// and the load runs again.
func undisturbed(t testing.TB, load func(errorf func(format string, args ...any))) {
	t.Helper()
	await.Undisturbed(t, stoodStill, func() error {
		var faults []error
		load(func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) })
		return errors.Join(faults...)
	})
}

// stoodStill is the shortest pause that disturbs a load: that of [TestLoadWithAToken] takes 300 ms.
const stoodStill = 200 * time.Millisecond

// small makes a scenario small enough for a test.
var small = []string{"--duration", "1s", "--connections", "4", "--conversations", "4", "--members", "4", "--users", "8", "--streams", "8", "--idle", "3", "--fill", "10"}

// A load runs every operation of the scenario, none fails, and every message is delivered.
func TestLoad(t *testing.T) {
	t.Setenv(tokenVariable, "")
	s := startServer(t)
	every := "--mix=" + strings.Join(operationNames(), ",")
	undisturbed(t, func(errorf func(string, ...any)) {
		status, res, diag := s.load(t.Context(), append([]string{"mixed", every, "--data", s.data, "--unlimited"}, small...)...)
		if status != good {
			errorf("status %d: %s", status, diag)
			return
		}
		for _, name := range operationNames() {
			if o := res.Operations[name]; o == nil || o.Done == 0 || o.Latency == nil || o.Latency.P99 <= 0 {
				errorf("%s: %+v", name, o)
			}
		}
		if e := res.Events; e.Messages == 0 || e.Lost+e.Twice+e.OutOfOrder+e.Resets+e.Disconnects != 0 || e.Latency == nil {
			errorf("events: %+v", e)
		}
		if res.Streams != 8 || res.Idle != 3 || res.Users != 8 || res.Interrupted {
			errorf("result: %+v", res)
		}
		s.leftNothing(res, errorf)
		if !strings.Contains(diag, "streams") {
			errorf("no progress in %q", diag)
		}
	})
}

// leftNothing checks that the users of a run have no conversations.
func (s *server) leftNothing(res result, errorf func(string, ...any)) {
	s.t.Helper()
	for i := range res.Users {
		if n := s.conversations(fmt.Sprintf("load-%s-%d", res.Run, i)); n != 0 {
			errorf("the run left user %d %d conversations", i, n)
		}
	}
}

// conversations returns the number of conversations of a user.
func (s *server) conversations(user string) int {
	s.t.Helper()
	w := conn{to: &endpoint{url: parsed(s.t, s.url)}}
	defer w.close()
	a, err := w.do(&request{method: http.MethodGet, path: "/v1/conversations", token: s.token(user), device: device})
	if err != nil || a.status != http.StatusOK {
		s.t.Fatalf("%v, status %d: %s", err, a.status, a.body)
	}
	var page struct{ Items []any }
	if err := json.Unmarshal(a.body, &page); err != nil {
		s.t.Fatal(err)
	}
	return len(page.Items)
}

// With only a token, that user does everything, even in direct conversations.
func TestLoadWithAToken(t *testing.T) {
	s := startServer(t)
	t.Setenv(tokenVariable, s.token("alice", "--admin"))
	for _, kind := range []string{"direct", "group", "room"} {
		undisturbed(t, func(errorf func(string, ...any)) {
			before := s.conversations("alice")
			status, res, diag := s.load(t.Context(), "send", "--kind", kind, "--members", "2", "--conversations", "3",
				"--streams", "5", "--connections", "2", "--duration", "300ms", "--quiet")
			if status != good || diag != "" {
				errorf("%s: status %d: %s", kind, status, diag)
				return
			}
			if n := s.conversations("alice"); n != before {
				errorf("%s: the run left %d conversations behind", kind, n-before)
			}
			sent := res.Operations["send"].Done
			if e := res.Events; sent == 0 || e.Messages != 5*sent {
				errorf("%s: %d messages sent, %d delivered to 5 streams", kind, sent, e.Messages)
			}
		})
	}
}

// An interrupted load prints what it has measured and deletes its conversations.
func TestInterruptedLoad(t *testing.T) {
	t.Setenv(tokenVariable, "")
	s := startServer(t)
	const commits = "imapi_commit_batch_size_sum"
	undisturbed(t, func(errorf func(string, ...any)) {
		ctx, interrupt := context.WithCancel(t.Context())
		ended, before := make(chan struct{}), s.metric(commits)
		go func() {
			defer close(ended)
			defer interrupt()
			await.Until(t, "messages are sent", func() bool { return ctx.Err() != nil || s.metric(commits) > before+100 })
		}()
		status, res, diag := s.load(ctx, append([]string{"--data", s.data, "--unlimited"}, append(small, "--duration", "0", "--rate", "200", "--warmup", "100ms")...)...)
		interrupt() // if it has ended by itself
		<-ended
		if status != good || !res.Interrupted || res.Operations["send"].Done == 0 {
			errorf("status %d, result %+v: %s", status, res, diag)
			return
		}
		s.leftNothing(res, errorf)
	})
}

// Requests that the server refuses because of load count as shed. Without a server there is no
// load.
func TestStatuses(t *testing.T) {
	t.Setenv(tokenVariable, "")
	s := startServer(t, "--rate", "5/s")
	undisturbed(t, func(errorf func(string, ...any)) {
		status, res, diag := s.load(t.Context(), "history", "--data", s.data, "--users", "1", "--members", "1", "--conversations", "1",
			"--fill", "0", "--connections", "1", "--rate", "100", "--duration", "1s", "--quiet")
		if o := res.Operations["history"]; status != good || o == nil || o.Shed == 0 || o.Done == 0 || o.Failed != 0 || o.ShedAfter == nil {
			errorf("status %d, %+v: %s", status, o, diag)
		}
	})
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--data", t.TempDir()}, badLine, "--data"},
		{[]string{"--token", "x"}, badLine, "--token"},
		{[]string{"--token", s.token("alice"), "--server", "http://127.0.0.1:1"}, noLoad, "refused"},
	} {
		var out, said bytes.Buffer
		args := append([]string{"--server", s.url, "--quiet"}, test.args...)
		if status := dispatch(t.Context(), args, &out, &said); status != test.status || !strings.Contains(said.String(), test.want) || out.Len() > 0 {
			t.Errorf("%q: status %d, said %q, printed %q", test.args, status, said.String(), out.String())
		}
	}
}

// A result with a fault has the exit status 3, and the result and the messages say what is wrong.
func TestFaultyResults(t *testing.T) {
	res := &result{
		Scenario: "mixed", Seconds: 2, Streams: 3, Offered: 20, Started: 15, names: []string{"send"},
		Operations: map[string]*operated{"send": {Done: 10, Failed: 4, Shed: 1, Refusals: map[string]int64{"500 internal": 4}}},
		Events:     &delivered{Lost: 1, Twice: 2, OutOfOrder: 3, Resets: 4, Disconnects: 5},
	}
	var out, diag bytes.Buffer
	if status := report(config{}, res, &out, &diag); status != faulty {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{"1 deliveries lost, 2 twice, 3 out of order; 5 disconnected, 4 reset", "5 never began", "send, 4 times: 500 internal"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the result:\n%s", want, out.String())
		}
	}
	if n := strings.Count(diag.String(), "imapi-load: "); n != 6 {
		t.Errorf("%d faults are named:\n%s", n, diag.String())
	}
}

func parsed(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// metric returns a metric of the server, summed over its labels.
func (s *server) metric(name string) (sum float64) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllSubmatch(text, -1)
	for _, found := range lines {
		v, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += v
	}
	if len(lines) == 0 {
		s.t.Fatalf("there is no metric %s", name)
	}
	return sum
}
