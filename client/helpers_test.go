package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
)

// errRefused is the failure of a fake connection.
var errRefused = errors.New("connection refused")

// fake answers requests in order and without a network, so that tests can run in a
// synctest bubble.
type fake struct {
	t testing.TB

	mu       sync.Mutex
	script   []answer
	requests []*request
}

// answer answers one request. Its call counts as a connection.
type answer func(r *request) (*http.Response, error)

// request is a request to the fake, with its body and time.
type request struct {
	*http.Request
	content []byte
	at      time.Time
}

func newFake(t testing.TB, script ...answer) *fake { return &fake{t: t, script: script} }

// RoundTrip implements http.RoundTripper.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := &request{Request: r, at: time.Now()}
	if r.Body != nil {
		asked.content, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	f.mu.Lock()
	f.requests = append(f.requests, asked)
	n := len(f.requests)
	f.mu.Unlock()
	if n > len(f.script) {
		f.t.Errorf("request %d was not expected", n)
		return nil, errors.New("not expected")
	}
	return f.script[n-1](asked)
}

// asked returns the requests so far.
func (f *fake) asked() []*request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// client returns a client that sends to the fake.
func (f *fake) client(o client.Options) *client.Client {
	o.HTTPClient = &http.Client{Transport: f}
	c, err := client.New("http://server.example/base", o)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// connected reports a connection to the trace of the request.
func connected(r *request) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
}

// unreachable refuses the connection.
func unreachable(*request) (*http.Response, error) { return nil, errRefused }

// lost accepts the request and breaks the connection.
func lost(r *request) (*http.Response, error) {
	connected(r)
	return nil, io.ErrUnexpectedEOF
}

// silent accepts the request and never answers.
func silent(r *request) (*http.Response, error) {
	connected(r)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// unanswered neither makes nor refuses the connection.
func unanswered(r *request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// reply answers with a status and a body.
func reply(status int, kind, body string, header ...string) answer {
	return func(r *request) (*http.Response, error) {
		connected(r)
		return response(r, status, kind, io.NopCloser(bytes.NewBufferString(body)), header...), nil
	}
}

// refuse answers with a problem.
func refuse(status int, code string, header ...string) answer {
	body := fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d,"code":%q,"detail":"because","field":"body/x"}`,
		http.StatusText(status), status, code)
	return reply(status, "application/problem+json", body, header...)
}

func response(r *request, status int, kind string, body io.ReadCloser, header ...string) *http.Response {
	h := http.Header{"Content-Type": {kind}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: h, Body: body, Request: r.Request,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
	}
}

// streams answers with an event stream that ends after the text.
func streams(text string) answer {
	return reply(http.StatusOK, "text/event-stream; charset=utf-8", text)
}

// held answers with an event stream that stays open after the text, until the
// request ends.
func held(text string) answer {
	return func(r *request) (*http.Response, error) {
		connected(r)
		body := io.MultiReader(bytes.NewBufferString(text), &hanging{r.Context()})
		return response(r, http.StatusOK, "text/event-stream", io.NopCloser(body)), nil
	}
}

// hanging is a body on which nothing arrives.
type hanging struct{ ctx context.Context }

func (h *hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

// frame returns a block with an event.
func frame(id, kind string) string {
	return fmt.Sprintf("id: %s\nevent: %s\ndata: {\"id\":%q,\"type\":%q,\"at\":\"2026-01-02T03:04:05.678Z\"}\n\n", id, kind, id, kind)
}

// message returns a message as the server encodes it.
func message(t testing.TB, clientID string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"id": "m1", "conversation_id": "c1", "seq": 1, "sender": "alice", "sender_device": nil,
		"client_id": clientID, "type": "text", "body": map[string]any{"text": "hi"}, "ext": map[string]any{},
		"mentions": []string{}, "reply_to": nil, "receipt": false, "state": "active",
		"created_at": "2026-01-02T03:04:05.678Z", "expires_at": nil, "burn": nil, "erased": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// problemOf returns the problem in an error.
func problemOf(t testing.TB, err error) *client.Problem {
	t.Helper()
	var p *client.Problem
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a problem", err)
	}
	return p
}
