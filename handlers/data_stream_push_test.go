package handlers_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
)

// push is an open request that pushes frames.
type push struct {
	t      testing.TB
	w      *io.PipeWriter
	answer chan answer
}

func (w *world) openPush(user, path, contentType string) *push {
	w.t.Helper()
	return w.openPushAs(http.DefaultClient, tokenOf(w.t, user), path, contentType)
}

func (w *world) openPushAs(client *http.Client, token, path, contentType string) *push {
	w.t.Helper()
	in, out := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, w.url+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentType)
	p := &push{t: w.t, w: out, answer: make(chan answer, 1)}
	go func() {
		res, err := client.Do(req)
		if err != nil {
			p.answer <- answer{body: []byte(err.Error())}
			return
		}
		defer func() { _ = res.Body.Close() }()
		b, _ := io.ReadAll(res.Body)
		p.answer <- answer{res.StatusCode, res.Header, b}
	}()
	w.t.Cleanup(func() { _ = out.Close() })
	return p
}

func (p *push) send(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.w, text); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the answer that arrives before the request ends.
func (p *push) wait() answer {
	p.t.Helper()
	select {
	case a := <-p.answer:
		return a
	case <-time.After(await.Limit):
		p.t.Fatal("the request is not answered")
		return answer{}
	}
}

func (p *push) close() answer {
	p.t.Helper()
	_ = p.w.Close()
	return p.wait()
}

// TestTakingTheRightToPush ends the open request of a publisher, over HTTP/1.1 and HTTP/2.
func TestTakingTheRightToPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	both, second := new(http.Protocols), new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	second.SetUnencryptedHTTP2(true)
	srv := httptest.NewUnstartedServer(w.routes)
	srv.Config.Protocols = both
	srv.Start()
	t.Cleanup(srv.Close)
	w.url = srv.URL
	for name, client := range map[string]*http.Client{
		"HTTP/1.1": http.DefaultClient,
		"HTTP/2":   {Transport: &http.Transport{Protocols: second}},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			s := w.startStream("alice", `{"access":"anyone","publishers":["bob"]}`)
			reader := w.readStream("carol", s+"/events")
			p := w.openPushAs(client, tokenOf(t, "bob"), s+"/frames", "application/octet-stream")
			p.send(binaryFrame(0, "1") + binaryFrame(0, "2"))
			for range 2 {
				reader.dataFrame()
			}
			w.must(http.StatusNoContent, "alice", http.MethodDelete, s+"/publishers/bob", "")
			a := p.wait()
			if a.status != http.StatusForbidden || a.code(t) != "not_publisher" || !strings.Contains(a.json(t)["detail"].(string), "2 frames were pushed, the last one with the id 2") {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			if a := w.do("bob", http.MethodPost, s+"/frames", `{"text":"3"}`); a.code(t) != "not_publisher" {
				t.Errorf("pushing later: %d %s", a.status, a.body)
			}
			w.must(http.StatusNoContent, "alice", http.MethodPut, s+"/publishers/bob", "")
			w.pushText("bob", s, "4")
			reader.wantFrames("4")
		})
	}
}

// TestMalformedFrames pushes requests that end in a malformed frame: the refusal names the frame,
// and the frames before it stay pushed.
func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const one, lines, bin = "application/json", "application/x-ndjson", "application/octet-stream"
	good := `{"text":"good"}`
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		code, field             string
		before                  int
	}{
		{"no frame", one, "", 400, "malformed_frame", "frames/1", 0},
		{"no object", one, `[]`, 400, "malformed_frame", "frames/1", 0},
		{"without text, json and base64", one, `{"dtype":1}`, 400, "malformed_frame", "frames/1", 0},
		{"two forms", one, `{"text":"a","json":1}`, 400, "malformed_frame", "frames/1", 0},
		{"two frames in one JSON", one, good + good, 400, "malformed_frame", "frames/1", 0},
		{"a dtype of 256", one, `{"dtype":256,"text":"a"}`, 400, "malformed_frame", "frames/1", 0},
		{"a negative dtype", one, `{"dtype":-1,"text":"a"}`, 400, "malformed_frame", "frames/1", 0},
		{"an unknown member", one, `{"text":"a","to":"b"}`, 400, "malformed_frame", "frames/1", 0},
		{"invalid base64", one, `{"base64":"a"}`, 400, "malformed_frame", "frames/1", 0},
		{"text that is a number", one, `{"text":5}`, 400, "malformed_frame", "frames/1", 0},
		{"text too large", one, `{"text":"` + strings.Repeat("a", 1<<20+1) + `"}`, 413, "frame_too_large", "frames/1", 0},
		{"a line cut off", lines, good + "\n" + good + "\n" + `{"text":"go`, 400, "malformed_frame", "frames/3", 2},
		{"a line too long", lines, good + "\n" + `{"text":"` + strings.Repeat("a", 2<<20+1024), 413, "frame_too_large", "frames/2", 1},
		{"a header cut off", bin, binaryFrame(1, "good") + "\x00\x00", 400, "malformed_frame", "frames/2", 1},
		{"a body cut off", bin, binaryFrame(1, "good") + binaryFrame(1, "good")[:7], 400, "malformed_frame", "frames/2", 1},
		{"a length too large", bin, binaryFrame(1, "good") + "\xff\xff\xff\xff\x00", 413, "frame_too_large", "frames/2", 1},
	} {
		s := w.startStream("alice", `{"access":"anyone"}`)
		a := w.do("alice", http.MethodPost, s+"/frames", c.body, "Content-Type", c.contentType)
		if a.status != c.status || a.code(t) != c.code || a.json(t)["field"] != c.field {
			t.Errorf("%s: %d %s, want %d %s in %s", c.name, a.status, a.body, c.status, c.code, c.field)
		}
		if next := w.must(http.StatusOK, "alice", http.MethodGet, s, "")["next_frame"]; next != float64(c.before+1) {
			t.Errorf("%s: the next frame is %v, want %d", c.name, next, c.before+1)
		}
		w.must(http.StatusNoContent, "alice", http.MethodDelete, s, "")
	}
	s := w.startStream("alice", `{"access":"anyone"}`)
	if a := w.do("alice", http.MethodPost, s+"/frames", "x", "Content-Type", "text/plain"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d", a.status)
	}
	if a := w.must(http.StatusOK, "alice", http.MethodPost, s+"/frames", "\n", "Content-Type", lines); a["frames"] != 0.0 || a["last_id"] != nil {
		t.Errorf("no line: %v", a)
	}
}

// TestLongPushIsAnswered checks that a request that pushes for longer than the server's
// timeouts is answered, over HTTP/1.1 and HTTP/2, when its client ends it and when it is
// refused.
func TestLongPushIsAnswered(t *testing.T) {
	t.Parallel()
	const deadline = 2 * time.Second // an attempt fails if the machine needs longer to begin both requests
	for name, protocol := range map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			await.Undisturbed(t, deadline/4, func() error {
				w := newWorld(t)
				s := w.startStream("alice", `{"access":"anyone"}`)
				arrived := w.readStream("bob", s+"/events").frames()
				protocols := new(http.Protocols)
				protocol(protocols)
				srv := httptest.NewUnstartedServer(w.routes)
				srv.Config.Protocols = protocols
				srv.Config.ReadTimeout, srv.Config.WriteTimeout = deadline, deadline
				srv.Start()
				t.Cleanup(srv.Close)
				transport := &http.Transport{Protocols: protocols}
				t.Cleanup(transport.CloseIdleConnections)
				client := &http.Client{Transport: transport}

				w.url = srv.URL
				ended := w.openPushAs(client, tokenOf(t, "alice"), s+"/frames", "application/x-ndjson")
				refused := w.openPushAs(client, tokenOf(t, "alice"), s+"/frames", "application/x-ndjson")
				if err := errors.Join(ended.arrives(arrived, "1"), refused.arrives(arrived, "2")); err != nil {
					return err
				}
				<-time.After(deadline * 3 / 2) // deadlines of sockets use the real clock
				if err := ended.arrives(arrived, "3"); err != nil {
					return err
				}
				if a := ended.close(); a.status != http.StatusOK || a.json(t)["last_id"] != 3.0 {
					return fmt.Errorf("at its end it is answered %d %s", a.status, a.body)
				}
				_, _ = io.WriteString(refused.w, "{}\n") // the answer shows whether it has arrived
				if a := refused.wait(); a.status != http.StatusBadRequest || a.code(t) != "malformed_frame" {
					return fmt.Errorf("refused, it is answered %d %s", a.status, a.body)
				}
				return nil
			})
		})
	}
}

// frames returns a channel of the data of the frames that arrive until the end of the stream.
func (r *reader) frames() <-chan string {
	data := make(chan string, 100)
	go func() {
		defer close(data)
		for f, ok := r.next(); ok; f, ok = r.next() {
			data <- f.data
		}
	}()
	return data
}

// arrives pushes a text, and expects that a reader gets it, and that the request goes on.
func (p *push) arrives(frames <-chan string, text string) error {
	if _, err := fmt.Fprintf(p.w, "{\"text\":%q}\n", text); err != nil {
		return err
	}
	select {
	case got := <-frames:
		if !strings.Contains(got, fmt.Sprintf(`"text":%q`, text)) {
			return fmt.Errorf("got %q, want a frame with %q", got, text)
		}
		return nil
	case a := <-p.answer:
		return fmt.Errorf("the request was answered %d %s", a.status, a.body)
	}
}
