package handlers_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
)

// startStream starts a data stream and returns its path.
func (w *world) startStream(user, body string) string {
	w.t.Helper()
	return "/v1/streams/" + w.must(http.StatusCreated, user, http.MethodPost, "/v1/streams", body)["id"].(string)
}

func (w *world) pushText(user, stream, text string) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"text": text})
	w.must(http.StatusOK, user, http.MethodPost, stream+"/frames", string(body))
}

// readStream opens a data stream as events.
func (w *world) readStream(user, stream string, header ...string) *reader {
	w.t.Helper()
	return w.readStreamAs(tokenOf(w.t, user), stream, header...)
}

func (w *world) readStreamAs(token, stream string, header ...string) *reader {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.url+stream, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.follow(req)
}

// dataFrame reads the next event of a data stream, and checks it against the document.
func (r *reader) dataFrame() (frame, map[string]any) {
	r.t.Helper()
	for {
		f, ok := r.next()
		if !ok {
			r.t.Fatal("the data stream ended without stream.ended")
		}
		if f.event == "" {
			continue
		}
		schema := map[string]string{"stream.frame": "StreamFrame", "stream.gap": "StreamGap", "stream.ended": "StreamEnded"}[f.event]
		var v map[string]any
		if err := json.Unmarshal([]byte(f.data), &v); err != nil {
			r.t.Fatalf("data %q: %v", f.data, err)
		}
		spec, _ := contract()
		if err := spec.Components.Schemas[schema].Value.VisitJSON(v); err != nil {
			r.t.Errorf("%s %s is not as the document has it: %v", f.event, f.data, err)
		}
		if f.event == "stream.frame" && f.id != fmt.Sprint(v["id"]) {
			r.t.Errorf("the frame says id %q, its data %v", f.id, v)
		}
		return f, v
	}
}

func (r *reader) wantFrames(want ...string) {
	r.t.Helper()
	for _, text := range want {
		f, v := r.dataFrame()
		if f.event != "stream.frame" || v["text"] != text {
			r.t.Fatalf("got %s %s, want the frame %q", f.event, f.data, text)
		}
	}
}

func (r *reader) wantEnded(reason string) map[string]any {
	r.t.Helper()
	f, v := r.dataFrame()
	if f.event != "stream.ended" || v["reason"] != reason {
		r.t.Fatalf("got %s %s, want stream.ended, %s", f.event, f.data, reason)
	}
	if f, ok := r.next(); ok {
		r.t.Errorf("%+v after stream.ended", f)
	}
	return v
}

func binaryFrame(dtype byte, body string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	return string(append(b, dtype)) + body
}

// TestFramesInEveryForm pushes frames in each form and reads them in both.
func TestFramesInEveryForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob")
	s := w.startStream("alice", `{"conversation_id":"`+group+`","access":"members","label":"answer"}`)
	push := func(contentType, body string, frames, last float64) {
		t.Helper()
		got := w.must(http.StatusOK, "alice", http.MethodPost, s+"/frames", body, "Content-Type", contentType)
		if got["frames"] != frames || got["last_id"] != last {
			t.Errorf("%s: pushed %v, want %v frames up to %v", contentType, got, frames, last)
		}
	}
	live := w.readStream("bob", s+"/events")
	push("application/json", `{"dtype":7,"text":"one \u00e9\n"}`, 1, 1)
	push("application/json; charset=utf-8", "{\"json\":{\n \"a\": [1.50, null]}}", 1, 2)
	push("application/x-ndjson", "{\"base64\":\"AAEC\"}\n\n{\"text\":\"\"}\r\n{\"json\":null,\"dtype\":255}", 3, 5)
	push("application/octet-stream", binaryFrame(1, "six")+binaryFrame(0, ""), 2, 7)

	want := []string{
		`{"id":1,"from":"alice","dtype":7,"text":"one é\n"}`,
		`{"id":2,"from":"alice","dtype":0,"json":{"a":[1.50,null]}}`,
		`{"id":3,"from":"alice","dtype":0,"base64":"AAEC"}`,
		`{"id":4,"from":"alice","dtype":0,"text":""}`,
		`{"id":5,"from":"alice","dtype":255,"json":null}`,
		`{"id":6,"from":"alice","dtype":1,"base64":"c2l4"}`,
		`{"id":7,"from":"alice","dtype":0,"base64":""}`,
	}
	late := w.readStream("bob", s+"/events")
	from := w.readStream("bob", s+"/events?from=3")
	resumed := w.readStream("bob", s+"/events?from=1", "Last-Event-ID", "5")
	for i, r := range []*reader{live, late, from, resumed} {
		for _, data := range want[[]int{0, 0, 2, 5}[i]:] {
			if f, _ := r.dataFrame(); f.event != "stream.frame" || f.data != data {
				t.Errorf("reader %d: %s %s, want %s", i, f.event, f.data, data)
			}
		}
	}
	bin := w.readStream("bob", s+"/events?from=2", "Accept", "application/octet-stream")
	view := w.must(http.StatusOK, "bob", http.MethodGet, s, "")
	if view["first_frame"] != 1.0 || view["next_frame"] != 8.0 || view["ended"] != nil || view["label"] != "answer" {
		t.Errorf("the data stream is %v", view)
	}
	w.must(http.StatusOK, "alice", http.MethodPost, s+"/end", "")
	for _, r := range []*reader{live, late, from, resumed} {
		r.wantEnded("owner")
	}
	got, err := io.ReadAll(bin.res.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := binaryFrame(0, `{"a":[1.50,null]}`) + binaryFrame(0, "\x00\x01\x02") + binaryFrame(0, "") + binaryFrame(255, "null") +
		binaryFrame(1, "six") + binaryFrame(0, "")
	if string(got) != all || bin.res.Header.Get("Stream-First-Frame") != "2" || bin.res.Trailer.Get("Stream-Ended") != "owner" {
		t.Errorf("read %q from %q, which ended by %q", got, bin.res.Header.Get("Stream-First-Frame"), bin.res.Trailer.Get("Stream-Ended"))
	}
}

// TestAnswerOfALanguageModel is an answer that is pushed as it is written, over one open
// request, and ends with a stored message.
func TestAnswerOfALanguageModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("bot", "bob")
	s := w.startStream("bot", `{"conversation_id":"`+group+`","access":"members"}`)
	bob := w.readStream("bob", s+"/events")
	p := w.openPush("bot", s+"/frames", "application/x-ndjson")
	for _, word := range []string{"Hello", ",", " world"} {
		p.send(`{"text":"` + word + `"}` + "\n")
		bob.wantFrames(word)
	}
	if a := p.close(); a.status != http.StatusOK || a.json(t)["frames"] != 3.0 {
		t.Fatalf("the request was answered %d %s", a.status, a.body)
	}
	end := `{"message":{"type":"text","body":{"text":"Hello, world"}}}`
	first := w.must(http.StatusOK, "bot", http.MethodPost, s+"/end", end)
	message := first["ended"].(map[string]any)["message_id"].(string)
	if got := bob.wantEnded("message"); got["message_id"] != message {
		t.Errorf("bob was told %v, want the message %s", got, message)
	}
	again := w.must(http.StatusOK, "bot", http.MethodPost, s+"/end", end)
	if got := again["ended"].(map[string]any)["message_id"]; got != message {
		t.Errorf("repeated, it ended with %v, want %s", got, message)
	}
	if a := w.do("bot", http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"other"}}}`); a.code(t) != "client_id_reused" {
		t.Errorf("another message: %d %s", a.status, a.body)
	}
	if a := w.do("bot", http.MethodPost, s+"/end", `{"message":{"type":"text","client_id":"c","body":{"text":"other"}}}`); a.code(t) != "stream_ended" {
		t.Errorf("another message with a client_id: %d %s", a.status, a.body)
	}
	if n := len(w.must(http.StatusOK, "bob", http.MethodGet, "/v1/conversations/"+group+"/messages", "")["items"].([]any)); n != 1 {
		t.Errorf("the conversation has %d messages, want 1", n)
	}
	late := w.readStream("bob", s+"/events?from=1")
	if f, v := late.dataFrame(); f.event != "stream.gap" || v["lost"] != 3.0 {
		t.Errorf("after the end: %s %s, want that 3 frames are lost", f.event, f.data)
	}
	late.wantEnded("message")
	if a := w.do("bot", http.MethodPost, s+"/frames", `{"text":"x"}`); a.code(t) != "stream_ended" {
		t.Errorf("pushing after the end: %d %s", a.status, a.body)
	}
}

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

// wait returns the answer that comes without an end of the request.
func (p *push) wait() answer {
	p.t.Helper()
	select {
	case a := <-p.answer:
		return a
	case <-time.After(time.Minute):
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
			if a.status != http.StatusForbidden || a.code(t) != "not_publisher" || !strings.Contains(a.json(t)["detail"].(string), "2 frames were pushed, the last one has the id 2") {
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

// TestMalformedFrames pushes requests that end in a malformed frame: the refusal names it,
// and the frames before it stay.
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

// TestLosingAConversation takes a conversation of each kind from a reader and a publisher, in
// every way. The requests of both end, and those of others do not.
func TestLosingAConversation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type scene struct {
		conversation string
		lose         func()
		// pushOnly is set if only the right to push is lost.
		pushOnly bool
	}
	must := func(status int, user, method, path, body string) func() {
		return func() { t.Helper(); w.must(status, user, method, path, body) }
	}
	ok, none := http.StatusOK, http.StatusNoContent
	group := func() string { return w.group("owner", "bob", "carol") }
	space := func() (string, string) { return w.newSpace("owner", "bob", "carol") }
	for name, build := range map[string]func() scene{
		"left a group": func() scene {
			g := group()
			return scene{g, must(none, "bob", "POST", "/v1/conversations/"+g+"/leave", ""), false}
		},
		"removed from a group": func() scene {
			g := group()
			return scene{g, must(none, "owner", "DELETE", "/v1/conversations/"+g+"/members/bob", ""), false}
		},
		"denied in a group": func() scene {
			g := group()
			return scene{g, must(none, "owner", "PUT", "/v1/conversations/"+g+"/lists/deny/bob", ""), false}
		},
		"muted in a group": func() scene {
			g := group()
			return scene{g, must(ok, "owner", "PUT", "/v1/conversations/"+g+"/members/bob/mute", `{}`), true}
		},
		"left a room": func() scene {
			g := w.must(http.StatusCreated, "owner", "POST", "/v1/conversations", `{"kind":"room","name":"r","members":["bob","carol"]}`)["id"].(string)
			return scene{g, must(none, "bob", "POST", "/v1/conversations/"+g+"/leave", ""), false}
		},
		"blocked in a direct conversation": func() scene {
			c := w.say("owner", "@bob", "hi")["conversation_id"].(string)
			return scene{c, must(none, "owner", "PUT", "/v1/blocks/bob", ""), false}
		},
		"thread of a group": func() scene {
			g := group()
			th := w.newThread("owner", w.say("owner", g, "root")["id"].(string))
			for _, u := range []string{"bob", "carol"} {
				w.must(ok, u, "POST", "/v1/conversations/"+th+"/join", "")
			}
			return scene{th, must(none, "owner", "DELETE", "/v1/conversations/"+g+"/members/bob", ""), false}
		},
		"channel hidden by a list": func() scene {
			_, c := space()
			return scene{c, must(none, "owner", "PUT", "/v1/conversations/"+c+"/lists/deny/bob", ""), false}
		},
		"channel hidden by a role": func() scene {
			s, c := space()
			role := w.newRole("owner", s, `{}`)
			w.must(ok, "owner", "PUT", "/v1/conversations/"+c+"/overrides/"+role, `{"permissions":{"view":"deny"}}`)
			return scene{c, must(none, "owner", "PUT", "/v1/spaces/"+s+"/roles/"+role+"/members/bob", ""), false}
		},
		"channel hidden by an override": func() scene {
			s, c := space()
			role := w.newRole("owner", s, `{}`)
			w.must(none, "owner", "PUT", "/v1/spaces/"+s+"/roles/"+role+"/members/bob", "")
			return scene{c, must(ok, "owner", "PUT", "/v1/conversations/"+c+"/overrides/"+role, `{"permissions":{"view":"deny"}}`), false}
		},
		"send denied by a role": func() scene {
			s, c := space()
			role := w.newRole("owner", s, `{"send":"deny"}`)
			return scene{c, must(none, "owner", "PUT", "/v1/spaces/"+s+"/roles/"+role+"/members/bob", ""), true}
		},
		"removed from a space": func() scene {
			s, c := space()
			return scene{c, must(none, "owner", "DELETE", "/v1/spaces/"+s+"/members/bob", ""), false}
		},
		"thread of a hidden channel": func() scene {
			_, c := space()
			th := w.newThread("owner", w.say("owner", c, "root")["id"].(string))
			for _, u := range []string{"bob", "carol"} {
				w.must(ok, u, "POST", "/v1/conversations/"+th+"/join", "")
			}
			return scene{th, must(none, "owner", "PUT", "/v1/conversations/"+c+"/lists/deny/bob", ""), false}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inner := w.in(t)
			sc := build()
			s := inner.startStream("owner", `{"conversation_id":"`+sc.conversation+`","access":"members","publishers":["bob","carol"]}`)
			lost := inner.readStream("bob", s+"/events")
			kept := lost
			direct := name == "blocked in a direct conversation"
			if !direct {
				kept = inner.readStream("carol", s+"/events")
			}
			p := inner.openPush("bob", s+"/frames", "application/x-ndjson")
			p.send(`{"text":"before"}` + "\n")
			lost.wantFrames("before")
			began := time.Now()
			sc.lose()
			if a := p.wait(); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
				t.Errorf("the publisher was answered %d %s", a.status, a.body)
			}
			if sc.pushOnly {
				inner.pushText("owner", s, "after")
				lost.wantFrames("after")
			} else {
				if f, ok := lost.next(); ok {
					t.Errorf("the reader got %+v", f)
				}
				if a := inner.do("bob", http.MethodGet, s+"/events", ""); a.status != http.StatusNotFound && a.code(t) != "blocked" {
					t.Errorf("reading again: %d %s", a.status, a.body)
				}
			}
			t.Log("both ended after", time.Since(began))
			if direct {
				return
			}
			inner.pushText("owner", s, "still")
			if sc.pushOnly {
				kept.wantFrames("before", "after", "still")
			} else {
				kept.wantFrames("before", "still")
			}
		})
	}
}

// TestOwnerLosesTheConversation: losing the conversation ends the data streams of an owner,
// and deleting it does.
func TestOwnerLosesTheConversation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob", "carol")
	s := w.startStream("bob", `{"conversation_id":"`+group+`","access":"members"}`)
	r := w.readStream("carol", s+"/events")
	w.must(http.StatusNoContent, "bob", http.MethodPost, "/v1/conversations/"+group+"/leave", "")
	r.wantEnded("owner")

	s = w.startStream("alice", `{"conversation_id":"`+group+`","access":"members"}`)
	r = w.readStream("carol", s+"/events")
	w.must(http.StatusNoContent, "alice", http.MethodDelete, "/v1/conversations/"+group+"?scope=everyone", "")
	// carol loses the conversation by the same commit: the answer ends with the reason or
	// without it.
	if f, ok := r.next(); ok && (f.event != "stream.ended" || !strings.Contains(f.data, `"deleted"`)) {
		t.Errorf("carol got %+v", f)
	}
}

// TestTokensEndRequests cuts off the token of a reader and a publisher, and lets those of
// others expire.
func TestTokensEndRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"anyone","publishers":["bob","carol"]}`)
	check := func(name, token, code string, end func()) {
		t.Helper()
		r := w.readStreamAs(token, s+"/events?from=now")
		p := w.openPushAs(http.DefaultClient, token, s+"/frames", "application/x-ndjson")
		p.send(`{"text":"x"}` + "\n")
		r.wantFrames("x")
		end()
		if a := p.wait(); a.status != http.StatusUnauthorized || a.code(t) != code {
			t.Errorf("%s: the publisher was answered %d %s", name, a.status, a.body)
		}
		if f, ok := r.next(); ok {
			t.Errorf("%s: the reader got %+v", name, f)
		}
	}
	check("cut off", tokenOf(t, "bob"), "token_cut_off", func() {
		w.send(w.adminRequest(http.MethodPost, "/v1/admin/users/bob/tokens/cut", ""))
	})
	check("expired", mint(t, auth.Grant{User: "carol", TTL: 2 * time.Second}, 0), "token_expired", func() {})
}

// adminRequest is a request of an admin.
func (w *world) adminRequest(method, path, body string) *http.Request {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+mint(w.t, auth.Grant{User: "root", Admin: true}, time.Minute))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// TestAdminsActAsAnyone starts data streams and pushes to them as other users.
func TestAdminsActAsAnyone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob")
	a := w.send(w.adminRequest(http.MethodPost, "/v1/streams", `{"as":"alice","conversation_id":"`+group+`","access":"members"}`))
	if a.status != http.StatusCreated || a.json(t)["owner"] != "alice" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s := "/v1/streams/" + a.json(t)["id"].(string)
	r := w.readStream("bob", s+"/events")
	for _, user := range []string{"alice", "stranger"} {
		if a := w.send(w.adminRequest(http.MethodPost, s+"/frames?as="+user, `{"text":"x"}`)); a.status != http.StatusOK {
			t.Errorf("as %s: %d %s", user, a.status, a.body)
		}
		if _, v := r.dataFrame(); v["from"] != user {
			t.Errorf("the frame is from %v, want %s", v["from"], user)
		}
	}
	if a := w.send(w.adminRequest(http.MethodGet, s+"/events", "")); a.code(t) != "not_reader" {
		t.Errorf("an admin who is no reader: %d %s", a.status, a.body)
	}
	if a := w.send(w.adminRequest(http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"x"}}}`)); a.status != http.StatusOK {
		t.Errorf("end: %d %s", a.status, a.body)
	}
	id := r.wantEnded("message")["message_id"].(string)
	if m := w.must(http.StatusOK, "bob", http.MethodGet, "/v1/messages/"+id, ""); m["sender"] != "alice" {
		t.Errorf("the message is from %v", m["sender"])
	}
	for path, body := range map[string]string{"/v1/streams": `{"as":"bob","access":"anyone"}`, s + "/frames?as=bob": `{"text":"x"}`} {
		if a := w.do("alice", http.MethodPost, path, body); a.code(t) != "admin_required" {
			t.Errorf("%s by a user: %d %s", path, a.status, a.body)
		}
	}
}

// TestListingDataStreams lists those of a conversation and one's own.
func TestListingDataStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob", "carol")
	in := `{"conversation_id":"` + group + `",`
	a := w.startStream("alice", in+`"access":"members"}`)
	b := w.startStream("alice", in+`"access":"listed","readers":["bob"]}`)
	c := w.startStream("bob", in+`"access":"anyone"}`)
	free := w.startStream("alice", `{"access":"anyone"}`)
	ended := w.startStream("alice", in+`"access":"members"}`)
	w.must(http.StatusNoContent, "alice", http.MethodDelete, ended, "")
	for _, l := range []struct {
		user, query string
		want        []string
	}{
		{"alice", "?conversation_id=" + group + "&limit=1", []string{a, b, c}},
		{"bob", "?conversation_id=" + group, []string{a, b, c}},
		{"carol", "?conversation_id=" + group + "&limit=2", []string{a, c}},
		{"alice", "?limit=2", []string{a, b, free}},
		{"bob", "", []string{c}},
		{"dave", "", nil},
	} {
		var got []string
		for token := ""; ; {
			query := l.query
			if token != "" {
				query += "&page_token=" + token
			}
			page := w.must(http.StatusOK, l.user, http.MethodGet, "/v1/streams"+query, "")
			for _, item := range page["items"].([]any) {
				got = append(got, "/v1/streams/"+item.(map[string]any)["id"].(string))
			}
			if page["next_page_token"] == nil {
				break
			}
			token = page["next_page_token"].(string)
		}
		if fmt.Sprint(got) != fmt.Sprint(l.want) {
			t.Errorf("%s lists %s: %v, want %v", l.user, l.query, got, l.want)
		}
	}
	if a := w.do("dave", http.MethodGet, "/v1/streams?conversation_id="+group, ""); a.code(t) != "conversation_not_found" {
		t.Errorf("a stranger: %d %s", a.status, a.body)
	}
	if v := w.must(http.StatusOK, "bob", http.MethodGet, b, ""); len(v["readers"].([]any)) != 0 {
		t.Errorf("a reader sees the list of readers: %v", v)
	}
}

// TestReadersOfAListedStream gives and takes the right to read.
func TestReadersOfAListedStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"listed","publishers":["pat"]}`)
	if a := w.do("bob", http.MethodGet, s+"/events", ""); a.code(t) != "stream_not_found" {
		t.Errorf("before: %d %s", a.status, a.body)
	}
	if a := w.do("pat", http.MethodGet, s+"/events", ""); a.code(t) != "not_reader" {
		t.Errorf("a publisher: %d %s", a.status, a.body)
	}
	w.must(http.StatusNoContent, "alice", http.MethodPut, s+"/readers/bob", "")
	r := w.readStream("bob", s+"/events")
	w.pushText("pat", s, "x")
	r.wantFrames("x")
	w.must(http.StatusNoContent, "alice", http.MethodDelete, s+"/readers/bob", "")
	if f, ok := r.next(); ok {
		t.Errorf("the reader got %+v", f)
	}
	other := w.startStream("alice", `{"access":"anyone"}`)
	if a := w.do("alice", http.MethodPut, other+"/readers/bob", ""); a.code(t) != "readers_unsupported" {
		t.Errorf("a list of a stream for anyone: %d %s", a.status, a.body)
	}
}

// TestReadingWithATicket reads as an EventSource does.
func TestReadingWithATicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"anyone"}`)
	w.pushText("alice", s, "x")
	ticket := w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/events/tickets", "")["ticket"].(string)
	req, err := http.NewRequest(http.MethodGet, w.url+s+"/events?ticket="+ticket, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.follow(req).wantFrames("x")
	if a := w.do("", http.MethodPost, s+"/frames?ticket="+ticket, `{"text":"x"}`); a.status != http.StatusUnauthorized {
		t.Errorf("pushing with a ticket: %d %s", a.status, a.body)
	}
	if a := w.do("bob", http.MethodHead, s+"/events", ""); a.status != http.StatusOK || len(a.body) > 0 {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
}

// TestDrainEndsDataStreams ends readers and publishers when the server stops.
func TestDrainEndsDataStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.startStream("alice", `{"access":"anyone"}`)
	r := w.readStream("bob", s+"/events")
	p := w.openPush("alice", s+"/frames", "application/x-ndjson")
	p.send(`{"text":"x"}` + "\n")
	r.wantFrames("x")
	w.streams.Drain()
	if a := p.wait(); a.code(t) != "shutting_down" || !strings.Contains(string(a.body), "1 frame was pushed, it has the id 1") {
		t.Errorf("the publisher was answered %d %s", a.status, a.body)
	}
	r.wantEnded("server")
	if a := w.do("alice", http.MethodPost, "/v1/streams", `{"access":"anyone"}`); a.code(t) != "shutting_down" {
		t.Errorf("a new one: %d %s", a.status, a.body)
	}
}

// TestLongPushIsAnswered checks that a request that pushes for longer than the server's
// timeouts is answered, over HTTP/1.1 and HTTP/2, when its client ends it and when it is
// refused.
func TestLongPushIsAnswered(t *testing.T) {
	const deadline = 2 * time.Second // in which a busy machine begins both requests
	for name, protocol := range map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.startStream("alice", `{"access":"anyone"}`)
			r := w.readStream("bob", s+"/events")
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
			ended.send(`{"text":"1"}` + "\n")
			r.wantFrames("1")
			refused.send(`{"text":"2"}` + "\n")
			r.wantFrames("2")
			<-time.After(deadline * 3 / 2) // the sockets' deadlines know no other clock
			ended.send(`{"text":"3"}` + "\n")
			r.wantFrames("3")
			if a := ended.close(); a.status != http.StatusOK || a.json(t)["last_id"] != 3.0 {
				t.Errorf("at its end it is answered %d %s", a.status, a.body)
			}
			refused.send("{}\n")
			if a := refused.wait(); a.code(t) != "malformed_frame" {
				t.Errorf("refused, it is answered %d %s", a.status, a.body)
			}
		})
	}
}

// TestErasingTheFinalMessage drops what readers have not yet read.
func TestErasingTheFinalMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob")
	s := w.startStream("alice", `{"conversation_id":"`+group+`","access":"members"}`)
	const marker = "f1ra4kkk0s9e"
	// A reader that does not read keeps the buffer from being dropped at the end.
	stuck := w.readStream("bob", s+"/events", "Accept", "application/octet-stream")
	big := bytes.Repeat([]byte(marker), 700_000/len(marker))
	for range 30 { // more than sockets buffer
		body, _ := json.Marshal(map[string]any{"base64": base64.StdEncoding.EncodeToString(big)})
		w.must(http.StatusOK, "alice", http.MethodPost, s+"/frames", string(body))
	}
	end := w.must(http.StatusOK, "alice", http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"x"}}}`)
	before := w.streams.Stats().Bytes
	w.must(http.StatusOK, "alice", http.MethodPost, "/v1/messages/"+end["ended"].(map[string]any)["message_id"].(string)+"/revoke", "")
	for deadline := time.Now().Add(time.Minute); w.streams.Stats().Bytes > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the buffer is not dropped")
		}
	}
	if before == 0 {
		t.Log("the reader had read everything before")
	}
	_ = stuck
	late := w.readStream("bob", s+"/events?from=1")
	in := bufio.NewReader(late.res.Body)
	rest, _ := io.ReadAll(in)
	if bytes.Contains(rest, []byte(marker)) {
		t.Error("the buffer can be read after the end")
	}
}

// TestEventsAboutDataStreams: those who may read a data stream receive an event when
// it starts and one when it ends, after its final message.
func TestEventsAboutDataStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.group("alice", "bob", "carol")
	bob, carol := w.listen("bob", nil), w.listen("carol", nil)
	for _, r := range []*reader{bob, carol} {
		r.expect("ready")
	}
	in := `{"conversation_id":"` + group + `","label":"answer",`
	s := w.startStream("alice", in+`"access":"members"}`)
	id := strings.TrimPrefix(s, "/v1/streams/")
	for _, r := range []*reader{bob, carol} {
		if _, v := r.expect("stream.started"); v["stream_id"] != id || v["conversation_id"] != group || v["owner"] != "alice" || v["label"] != "answer" {
			t.Errorf("told %v", v)
		}
	}
	end := w.must(http.StatusOK, "alice", http.MethodPost, s+"/end", `{"message":{"type":"text","body":{"text":"x"}}}`)
	for _, r := range []*reader{bob, carol} {
		r.expect("message.created")
		_, v := r.expect("stream.ended")
		if v["stream_id"] != id || v["reason"] != "message" || v["message_id"] != end["ended"].(map[string]any)["message_id"] {
			t.Errorf("told %v", v)
		}
	}
	listed := w.startStream("alice", in+`"access":"listed","readers":["bob"]}`)
	if _, v := bob.expect("stream.started"); "/v1/streams/"+v["stream_id"].(string) != listed {
		t.Errorf("bob is told %v", v)
	}
	w.must(http.StatusNoContent, "alice", http.MethodDelete, listed, "")
	if _, v := bob.expect("stream.ended"); v["reason"] != "deleted" {
		t.Errorf("bob is told %v", v)
	}
	w.say("alice", group, "next")
	carol.expect("message.created") // and nothing of the listed one
}
