package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// device is a device of a user. It uses plain HTTP instead of the client, to see exactly what is
// sent.
type device struct {
	t           testing.TB
	server      *server
	token, name string
}

func (s *server) device(user, name string) device {
	s.t.Helper()
	return device{t: s.t, server: s, token: mintFor(s.t, readSecret(s.t, s.data), user), name: name}
}

// request makes a request of the device.
func (d device) request(ctx context.Context, method, path, body string) *http.Request {
	d.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+d.server.addr+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	if d.name != "" {
		req.Header.Set("X-Device-Id", d.name)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// ask returns the answer to a request.
func (d device) ask(method, path, body string) (int, []byte) {
	d.t.Helper()
	res, err := http.DefaultClient.Do(d.request(d.t.Context(), method, path, body))
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, answer
}

// must makes a request, which must succeed, and decodes the answer into out.
func (d device) must(method, path, body string, out any) {
	d.t.Helper()
	status, answer := d.ask(method, path, body)
	if status >= 300 {
		d.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer, out); err != nil {
		d.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

// note has the fields of a message that these tests need.
type note struct {
	ID             string
	ConversationID string `json:"conversation_id"`
	Seq            int64
	State          string
	Body, Ext      json.RawMessage
	Mentions       []string
	Erased         *struct {
		At         time.Time
		By         string
		Postscript string
		Extension  json.RawMessage
	}
}

// gone reports whether a message has no content.
func (n *note) gone() bool {
	return n != nil && n.State != "active" && n.Erased != nil && isNull(n.Body) && isNull(n.Ext) && n.Mentions == nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// send sends a text; more has further members of the request.
func (d device) send(conversation, text, more string) note {
	d.t.Helper()
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		d.t.Fatal(err)
	}
	var n note
	d.must(http.MethodPost, "/v1/conversations/"+conversation+"/messages", `{"type":"text","body":`+string(body)+more+`}`, &n)
	return n
}

func (d device) group(members ...string) string {
	d.t.Helper()
	body, err := json.Marshal(map[string]any{"kind": "group", "name": "group", "members": members})
	if err != nil {
		d.t.Fatal(err)
	}
	var c struct{ ID string }
	d.must(http.MethodPost, "/v1/conversations", string(body), &c)
	return c.ID
}

// cursor returns the cursor of the end of the log.
func (d device) cursor() string {
	d.t.Helper()
	var cursor string
	for next := ""; ; {
		var page struct {
			Cursor string
			Next   string `json:"next_page_token"`
		}
		d.events(next, &page)
		if cursor = page.Cursor; page.Next == "" {
			return cursor
		}
		next = page.Next
	}
}

// events reads a page of the log, the first one without a token.
func (d device) events(token string, out any) {
	d.t.Helper()
	path := "/v1/events?limit=200"
	if token != "" {
		path += "&page_token=" + token
	}
	req := d.request(d.t.Context(), http.MethodGet, path, "")
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil || res.StatusCode != http.StatusOK {
		d.t.Fatal(res.Status, err)
	}
}

// log returns the whole log of a user.
func (d device) log() []heard {
	d.t.Helper()
	var all []heard
	for next := ""; ; {
		var page struct {
			Items []heard
			Next  string `json:"next_page_token"`
		}
		d.events(next, &page)
		all = append(all, page.Items...)
		if page.Next == "" {
			return all
		}
		next = page.Next
	}
}

// history returns all messages of a conversation, oldest first.
func (d device) history(conversation string) []note {
	d.t.Helper()
	var all []note
	for {
		var page struct{ Items []note }
		after := int64(0)
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		d.must(http.MethodGet, fmt.Sprintf("/v1/conversations/%s/messages?limit=200&after_seq=%d", conversation, after), "", &page)
		if len(page.Items) == 0 {
			return all
		}
		all = append(all, page.Items...)
	}
}

// heard is an event as it was received.
type heard struct {
	raw         string
	ID          string
	Type        string
	At          time.Time
	MessageID   string `json:"message_id"`
	Seq         int64
	Actor, User string
	MessageIDs  []string        `json:"message_ids"`
	UpTo        string          `json:"up_to"`
	PushContent string          `json:"push_content"`
	PushPayload json.RawMessage `json:"push_payload"`
	Message     *note
}

// isFor reports whether a receipt names a message or is for all up to it.
func (h heard) isFor(id string) bool { return h.UpTo == id || slices.Contains(h.MessageIDs, id) }

// ear is an open stream.
type ear struct {
	t      testing.TB
	events chan heard
}

// listen opens a stream, which resumes after the cursor if there is one.
func (d device) listen(cursor string) *ear {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req := d.request(ctx, http.MethodGet, "/v1/events", "")
	if cursor != "" {
		req.Header.Set("Last-Event-ID", cursor)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		d.t.Fatal(err)
	}
	e := &ear{t: d.t, events: make(chan heard, 1<<14)}
	var hearing sync.WaitGroup
	hearing.Go(func() {
		defer close(e.events)
		defer func() { _ = res.Body.Close() }()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			data, isData := strings.CutPrefix(lines.Text(), "data: ")
			if !isData {
				continue
			}
			h := heard{raw: data}
			if err := json.Unmarshal([]byte(data), &h); err != nil {
				d.t.Errorf("received %s: %v", data, err)
				return
			}
			e.events <- h
		}
	})
	d.t.Cleanup(func() { cancel(); hearing.Wait() })
	if res.StatusCode != http.StatusOK {
		d.t.Fatalf("the stream was answered %s", res.Status)
	}
	if first := e.until(func(heard) bool { return true }); first[0].Type != "ready" {
		d.t.Fatalf("the stream began with %s", first[0].raw)
	}
	return e
}

// until returns the received events up to the given one.
func (e *ear) until(last func(heard) bool) []heard {
	e.t.Helper()
	var received []heard
	deadline := time.After(patience)
	for {
		select {
		case h, open := <-e.events:
			if !open {
				e.t.Fatalf("the stream ended after %d events", len(received))
			}
			if received = append(received, h); last(h) {
				return received
			}
		case <-deadline:
			e.t.Fatalf("not received within %v; received %d events", patience, len(received))
		}
	}
}

// untilMessage returns the received events up to a message.
func (e *ear) untilMessage(id string) []heard {
	e.t.Helper()
	return e.until(func(h heard) bool { return h.Type == "message.created" && h.MessageID == id })
}

// about returns the events of a type.
func about(list []heard, types ...string) []heard {
	return slices.DeleteFunc(slices.Clone(list), func(h heard) bool { return !slices.Contains(types, h.Type) })
}

// metric returns the value of a metric without labels, or the sum of those
// with.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	res, err := http.Get("http://" + s.addr + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	sum := 0.0
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if key, _, _ = strings.Cut(key, "{"); key == name {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}
