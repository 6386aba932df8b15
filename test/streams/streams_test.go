// Package streams reads the event stream with other projects' libraries. It is a module of its own,
// so that the server does not depend on them.
package streams

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
)

// program is the binary that make build builds.
const program = "../../bin/imapi"

// server is a process with a data directory of its own.
type server struct {
	t          *testing.T
	data, addr string
	process    *exec.Cmd
	log        bytes.Buffer
}

func (s *server) start() {
	s.t.Helper()
	s.process = exec.Command(program, "serve", "--listen", s.addr, "--data", s.data)
	s.process.Stdout, s.process.Stderr = &s.log, &s.log // one process at a time
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.until("the server is ready", func() bool {
		res, err := http.Get("http://" + s.addr + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func (s *server) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait()
}

func (s *server) token(user string) string {
	s.t.Helper()
	out, err := exec.Command(program, "token", "--user", user, "--data", s.data).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (s *server) say(token, text string) {
	s.t.Helper()
	body := strings.NewReader(`{"type":"text","body":{"text":"` + text + `"}}`)
	req, _ := http.NewRequest(http.MethodPost, "http://"+s.addr+"/v1/conversations/@bob/messages", body)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		s.t.Fatal(res.Status)
	}
}

// until polls a condition until goroutines of a library have made it true.
func (s *server) until(what string, condition func() bool) {
	s.t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	late := time.After(time.Minute)
	for !condition() {
		select {
		case <-poll.C:
		case <-late:
			s.t.Fatalf("gave up after a minute, waiting until %s", what)
		}
	}
}

// heartbeats opens a stream and waits for n heartbeats.
func (s *server) heartbeats(token string, n int) {
	s.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "http://"+s.addr+"/v1/events", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	for lines := bufio.NewScanner(res.Body); n > 0; {
		if !lines.Scan() {
			s.t.Fatalf("the stream ended: %v", lines.Err())
		}
		if strings.HasPrefix(lines.Text(), ":") {
			n--
		}
	}
}

// handler records what a library dispatches.
type handler struct {
	mu     sync.Mutex
	events []string
	texts  []string
	faults []string // messages that are not events
	empty  int      // empty messages
}

func (h *handler) take(event string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if event == "" && len(data) == 0 {
		h.empty++
		return
	}
	var e struct {
		Type    string
		Message *struct{ Body struct{ Text string } }
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Type != event {
		h.faults = append(h.faults, event+": "+string(data))
		return
	}
	h.events = append(h.events, event)
	if e.Message != nil {
		h.texts = append(h.texts, e.Message.Body.Text)
	}
}

func (h *handler) count(event string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e == event {
			n++
		}
	}
	return n
}

// TestHeartbeatsReachNoHandler checks that a library dispatches only events, and resumes after a
// restart.
func TestHeartbeatsReachNoHandler(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, data: t.TempDir(), addr: free.Addr().String()}
	_ = free.Close()
	s.start()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.String())
		}
	})
	alice, bob, url := s.token("alice"), s.token("bob"), "http://"+s.addr+"/v1/events"
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)

	handlers := map[string]*handler{"r3labs/sse": {}, "tmaxmax/go-sse": {}}
	one := r3labs.NewClient(url)
	one.Headers["Authorization"] = "Bearer " + bob
	go func() {
		for ctx.Err() == nil { // the library does not reconnect after a clean end
			_ = one.SubscribeWithContext(ctx, "", func(e *r3labs.Event) {
				handlers["r3labs/sse"].take(string(e.Event), e.Data)
			})
		}
	}()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	req.Header.Set("Authorization", "Bearer "+bob)
	two := tmaxmax.DefaultClient.NewConnection(req)
	two.SubscribeToAll(func(e tmaxmax.Event) { handlers["tmaxmax/go-sse"].take(e.Type, []byte(e.Data)) })
	go func() { _ = two.Connect() }()

	all := func(event string, n int) func() bool {
		return func() bool {
			for _, h := range handlers {
				if h.count(event) != n {
					return false
				}
			}
			return true
		}
	}
	s.until("both are open", all("ready", 1))
	s.say(alice, "one")
	s.until("both hear the first", all("message.created", 1))
	s.heartbeats(bob, 3)
	s.say(alice, "two")
	s.until("both hear the second", all("message.created", 2))
	s.heartbeats(bob, 1)
	for name, h := range handlers {
		h.mu.Lock()
		if h.empty > 0 {
			t.Errorf("%s: %d messages without anything", name, h.empty)
		}
		h.mu.Unlock()
	}
	s.stop()
	s.start()
	s.until("both are open again", all("ready", 2))
	s.say(alice, "three")
	s.until("both hear the third", all("message.created", 3))

	want := []string{"ready", "conversation.created", "message.created", "message.created", "ready", "message.created"}
	for name, h := range handlers {
		h.mu.Lock()
		// When a connection ends, r3labs/sse dispatches whatever followed the last event as an
		// event, even a comment. It may connect more than once while the server stops.
		if name != "r3labs/sse" && h.empty > 0 {
			t.Errorf("%s: %d messages without anything", name, h.empty)
		}
		if !slices.Equal(h.events, want) || !slices.Equal(h.texts, []string{"one", "two", "three"}) || len(h.faults) > 0 {
			t.Errorf("%s: events %q, texts %q, and not events: %q", name, h.events, h.texts, h.faults)
		}
		h.mu.Unlock()
	}
}
