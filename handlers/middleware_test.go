package handlers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

func TestOnlyAllowedOriginsMayCall(t *testing.T) {
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Origins = []string{"https://app.example"}
	})
	for origin, allowed := range map[string]bool{"https://app.example": true, "https://evil.example": false} {
		a := w.do("", http.MethodOptions, toBob, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
		if got := a.header.Get("Access-Control-Allow-Origin") == origin; got != allowed {
			t.Errorf("preflight from %s: %v", origin, a.header)
		}
		a = w.do("alice", http.MethodGet, "/v1/conversations", "", "Origin", origin)
		if got := a.header.Get("Access-Control-Allow-Origin") == origin; got != allowed {
			t.Errorf("request from %s: %v", origin, a.header)
		}
	}
}

// TestPreflightAllowsUsualHeaders checks that a page may send the headers of libraries for
// event streams, request wrappers and tracing, and read the headers that it needs.
func TestPreflightAllowsUsualHeaders(t *testing.T) {
	const origin = "https://app.example"
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) { o.Origins = []string{origin} })
	for _, header := range []string{
		"authorization", "content-type", "x-device-id", "last-event-id", "accept", "accept-language", "cache-control", "pragma",
		"x-requested-with", "x-request-id", "x-correlation-id", "idempotency-key", "if-none-match", "if-match",
		"traceparent", "tracestate", "baggage", "sentry-trace", "b3", "x-b3-traceid", "x-datadog-trace-id", "x-amzn-trace-id",
		"authorization,cache-control,last-event-id,traceparent,x-device-id",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			a := w.do("", http.MethodOptions, "/v1/events", "", "Origin", origin,
				"Access-Control-Request-Method", method, "Access-Control-Request-Headers", header)
			if a.status/100 != 2 || a.header.Get("Access-Control-Allow-Origin") != origin ||
				a.header.Get("Access-Control-Allow-Methods") != method || a.header.Get("Access-Control-Allow-Headers") != header {
				t.Errorf("%s with %s: %d %v", method, header, a.status, a.header)
			}
		}
	}
	a := w.do("", http.MethodOptions, "/v1/events", "", "Origin", "https://evil.example",
		"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	if a.header.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("another origin: %v", a.header)
	}
	exposed := w.do("alice", http.MethodGet, "/v1/conversations", "", "Origin", origin).header.Get("Access-Control-Expose-Headers")
	for _, want := range []string{"Retry-After", "ETag", "Location", "Date"} {
		if !slices.ContainsFunc(strings.Split(exposed, ","), func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), want) }) {
			t.Errorf("%s is not exposed: %q", want, exposed)
		}
	}
}

// TestOneAuthorizationHeader checks that a request with several is refused, even if the others are
// empty or the same, and that a ticket is not taken instead.
func TestOneAuthorizationHeader(t *testing.T) {
	w := newWorld(t)
	alice, bob := "Bearer "+tokenOf(t, "alice"), "Bearer "+tokenOf(t, "bob")
	ticket := w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/events/tickets", "")["ticket"].(string)
	for _, path := range []string{"/v1/conversations", "/v1/events?ticket=" + ticket} {
		for _, given := range [][]string{{alice, bob}, {alice, alice}, {alice, ""}, {"", alice}, {"Basic YTpi", alice}} {
			req, err := http.NewRequest(http.MethodGet, w.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Authorization"] = given
			if a := w.send(req); a.status != http.StatusUnauthorized || a.code(t) != "token_malformed" {
				t.Errorf("%s with %q: %d %s", path, given, a.status, a.body)
			}
		}
	}
}

// TestHeadIsAnsweredAsGet requests the headers of every GET of the document.
func TestHeadIsAnsweredAsGet(t *testing.T) {
	w := newWorld(t, func(o *handlers.Options, _ *events.Options, _ *im.Policy) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a 1\n")) })
		o.Demo = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<p>demo")) })
	})
	message := w.say("alice", "@bob", "x")
	paths := []string{"/", "/nowhere"}
	spec := contract()
	for path, item := range spec.Paths.Map() {
		if item.Get == nil {
			continue
		}
		for name, value := range map[string]string{"{conversation}": "@bob", "{message}": message["id"].(string)} {
			path = strings.ReplaceAll(path, name, value)
		}
		if path != "/v1/events" {
			paths = append(paths, path) // parameters are left in the path, which gives 404
		}
	}
	for _, user := range []string{"alice", ""} {
		for _, path := range paths {
			get, head := w.do(user, http.MethodGet, path, ""), w.do(user, http.MethodHead, path, "")
			if head.status != get.status || len(head.body) > 0 {
				t.Errorf("HEAD %s by %q: %d with %d bytes, GET %d", path, user, head.status, len(head.body), get.status)
			}
			for _, name := range []string{"Date", "Content-Length"} {
				get.header.Del(name)
				head.header.Del(name)
			}
			if diff := cmp.Diff(get.header, head.header); diff != "" {
				t.Errorf("HEAD %s by %q has other headers (-GET +HEAD):\n%s", path, user, diff)
			}
		}
	}
	export := w.do("", http.MethodHead, "/v1/admin/export", "", "Authorization", adminOf(t))
	if export.status != http.StatusOK || export.header.Get("Content-Type") != "application/x-ndjson" || len(export.body) > 0 {
		t.Errorf("HEAD of an export: %d %v", export.status, export.header)
	}
	stream := w.do("alice", http.MethodHead, "/v1/events", "") // the answer must end
	if stream.status != http.StatusOK || stream.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD of the stream: %d %v", stream.status, stream.header)
	}
	ticket := w.must(http.StatusCreated, "bob", http.MethodPost, "/v1/events/tickets", "")["ticket"].(string)
	if a := w.do("", http.MethodHead, "/v1/events?ticket="+ticket, ""); a.status != http.StatusOK {
		t.Errorf("HEAD of the stream by ticket: %d", a.status)
	}
	if a := w.do("alice", http.MethodHead, "/v1/conversations/@bob/hide", ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
		t.Errorf("HEAD of a path without GET: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
}
