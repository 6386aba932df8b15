package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/client"
)

// follow collects "id type" of n events, or of fewer events and the error.
func follow(ctx context.Context, c *client.Client, o client.EventsOptions, n int) (events []string, err error) {
	for e, err := range c.Events(ctx, o) {
		if err != nil {
			return events, err
		}
		events = append(events, e.ID+" "+string(e.Type))
		if len(events) == n {
			break
		}
	}
	return events, nil
}

// cursors returns the Last-Event-ID of each request.
func cursors(f *fake) (ids []string) {
	for _, r := range f.asked() {
		ids = append(ids, r.Header.Get("Last-Event-ID"))
	}
	return ids
}

// gaps returns the times between the requests.
func gaps(f *fake) (gaps []time.Duration) {
	asked := f.asked()
	for i := 1; i < len(asked); i++ {
		gaps = append(gaps, asked[i].at.Sub(asked[i-1].at))
	}
	return gaps
}

// want compares two lists.
func want[T any](t *testing.T, what string, got, wanted []T) {
	t.Helper()
	if !slices.EqualFunc(got, wanted, func(a, b T) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("%s: got %v, want %v", what, got, wanted)
	}
}

// wantGaps checks that each wait is from the given one to half as much more.
func wantGaps(t *testing.T, f *fake, wanted ...time.Duration) {
	t.Helper()
	got := gaps(f)
	if len(got) != len(wanted) {
		t.Fatalf("%d waits %v, want %d", len(got), got, len(wanted))
	}
	for i, w := range wanted {
		if got[i] < w || got[i] > w+w/2 {
			t.Errorf("wait %d is %v, want from %v to half more", i, got[i], w)
		}
	}
}

const created = "message.created"

// bubble runs a subtest in a synctest bubble.
func bubble(t *testing.T, name string, run func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
}

func TestEventsResume(t *testing.T) {
	none := client.EventsOptions{}
	bubble(t, "after the server ended the stream", func(t *testing.T) {
		f := newFake(t,
			streams("retry: 2000\n\n"+frame("1", "ready")+frame("2", created)),
			held("retry: 2000\n\n"+frame("2", "ready")+frame("3", created)),
		)
		got, err := follow(t.Context(), f.client(client.Options{Token: client.StaticToken("t"), Device: "phone"}), none, 4)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events", got, []string{"1 ready", "2 " + created, "2 ready", "3 " + created})
		want(t, "cursors", cursors(f), []string{"", "2"})
		wantGaps(t, f, 2*time.Second)
		r := f.asked()[0]
		if r.URL.Path != "/base/v1/events" || r.Header.Get("Accept") != "text/event-stream" ||
			r.Header.Get("Authorization") != "Bearer t" || r.Header.Get("X-Device-Id") != "phone" {
			t.Errorf("asked %s with %v", r.URL, r.Header)
		}
	})
	bubble(t, "from a cursor", func(t *testing.T) {
		// The event at the cursor is a duplicate.
		f := newFake(t, held(frame("7", "ready")+frame("7", created)+frame("8", created)))
		got, err := follow(t.Context(), f.client(client.Options{}), client.EventsOptions{Cursor: "7"}, 2)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events", got, []string{"7 ready", "8 " + created})
		want(t, "cursors", cursors(f), []string{"7"})
	})
	bubble(t, "by a heartbeat", func(t *testing.T) {
		f := newFake(t, streams(frame("1", "ready")+"id: 5\n\n"), held(frame("6", created)))
		var positions []string
		got, err := follow(t.Context(), f.client(client.Options{}), client.EventsOptions{
			OnCursor: func(c string) { positions = append(positions, c) },
		}, 2)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events", got, []string{"1 ready", "6 " + created})
		want(t, "cursors", cursors(f), []string{"", "5"})
		// A loop that breaks off may not have handled the last event.
		want(t, "positions", positions, []string{"1", "5"})
	})
	bubble(t, "past an event without an id", func(t *testing.T) {
		command := "event: command\ndata: {\"id\":\"\",\"type\":\"command\",\"at\":\"2026-01-02T03:04:05.678Z\"}\n\n"
		f := newFake(t, streams(frame("1", "ready")+command+command), held(frame("2", created)))
		got, err := follow(t.Context(), f.client(client.Options{}), none, 4)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events", got, []string{"1 ready", " command", " command", "2 " + created})
		want(t, "cursors", cursors(f), []string{"", "1"})
	})
	bubble(t, "after a reset", func(t *testing.T) {
		f := newFake(t,
			streams(frame("9", "ready")+frame("10", created)),
			streams(frame("3", "reset")+frame("10", created)), // from another log
			held(frame("11", created)),
		)
		got, err := follow(t.Context(), f.client(client.Options{}), none, 5)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events", got, []string{"9 ready", "10 " + created, "3 reset", "10 " + created, "11 " + created})
		want(t, "cursors", cursors(f), []string{"", "10", "10"})
	})
	bubble(t, "without yielding an event twice", func(t *testing.T) {
		f := newFake(t,
			streams(frame("1", "ready")+frame("2", created)+frame("3", created)+frame("3", created)),
			streams(frame("1", created)+frame("2", created)+frame("3", created)+frame("4", created)),
			held(frame("2", created)+frame("5", created)),
		)
		got, err := follow(t.Context(), f.client(client.Options{}), none, 6)
		if err != nil {
			t.Fatal(err)
		}
		// Only the position of event 1 was received before.
		want(t, "events", got, []string{
			"1 ready", "2 " + created, "3 " + created, "1 " + created, "4 " + created, "5 " + created,
		})
	})
}

// TestEventsWithCutConnections: wherever the connection breaks, no event is missing, duplicated or
// out of order.
func TestEventsWithCutConnections(t *testing.T) {
	var wanted []string
	for i := 1; i <= 4; i++ {
		wanted = append(wanted, fmt.Sprintf("%d %s", i, created))
	}
	from := func(cursor string) string {
		text := "retry: 100\n\n" + frame(cursor, "ready")
		for i := 1; i <= 4; i++ {
			if id := fmt.Sprint(i); id > cursor {
				text += ": a comment\nid: " + id + "\r\nevent: " + created + "\r\ndata: {\"id\":\"" + id + "\",\ndata: \"type\":\"" + created + "\"}\r\n\r\n"
			}
		}
		return text
	}
	most := len(from("0"))
	for cut := range most + 1 {
		synctest.Test(t, func(t *testing.T) {
			var script []answer
			for i := range 12 {
				script = append(script, func(r *request) (*http.Response, error) {
					text := from(r.Header.Get("Last-Event-ID"))
					if i < 8 && cut < len(text) {
						broken := io.MultiReader(strings.NewReader(text[:cut]), failing{})
						return response(r, http.StatusOK, "text/event-stream", io.NopCloser(broken)), nil
					}
					return held(text)(r)
				})
			}
			f := newFake(t, script...)
			var got []string
			for e, err := range f.client(client.Options{}).Events(t.Context(), client.EventsOptions{Cursor: "0"}) {
				if err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				if e.Type != client.EventTypeReady {
					got = append(got, e.ID+" "+string(e.Type))
				}
				if len(got) == len(wanted) {
					break
				}
			}
			want(t, fmt.Sprint("cut at ", cut), got, wanted)
		})
	}
}

func TestEventsBackOff(t *testing.T) {
	ready := held(frame("1", "ready"))
	overloaded := streams("retry: 3000\n\n")
	tests := map[string]struct {
		script []answer
		waits  []time.Duration
	}{
		"while the server is away": {
			[]answer{unreachable, unreachable, unreachable, unreachable, unreachable, unreachable, unreachable, ready},
			[]time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 30e9, 30e9},
		},
		"while it is overloaded": {
			[]answer{overloaded, overloaded, overloaded, ready},
			[]time.Duration{3e9, 6e9, 12e9},
		},
		"from a retry that is cut":        {[]answer{streams("retry: 3000\n"), ready}, []time.Duration{3e9}},
		"as Retry-After says":             {[]answer{refuse(503, "shutting_down", "Retry-After", "20"), ready}, []time.Duration{20e9}},
		"when there are too many streams": {[]answer{refuse(429, "too_many_streams", "Retry-After", "1"), refuse(429, "too_many_streams"), ready}, []time.Duration{1e9, 2e9}},
		"for other faults":                {[]answer{reply(502, "text/html", ""), refuse(500, "internal"), reply(408, "", ""), ready}, []time.Duration{1e9, 2e9, 4e9}},
		"not after a stream that worked": {
			[]answer{
				unreachable, unreachable, unreachable,
				streams("retry: 5000\n\nid: 1\n\n"), streams("id: 2\n\n"), unreachable, ready,
			},
			[]time.Duration{1e9, 2e9, 4e9, 5e9, 5e9, 10e9},
		},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			f := newFake(t, tt.script...)
			var reported []time.Duration
			_, err := follow(t.Context(), f.client(client.Options{}), client.EventsOptions{
				OnDisconnect: func(err error, wait time.Duration) {
					if err == nil {
						t.Error("no reason")
					}
					reported = append(reported, wait)
				},
			}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if tt.waits[0] == 20e9 { // the server sets the exact wait
				want(t, "waits", gaps(f), tt.waits)
			} else {
				wantGaps(t, f, tt.waits...)
			}
			want(t, "reported waits", reported, gaps(f))
		})
	}
}

func TestEventsEnd(t *testing.T) {
	static := client.Options{Token: client.StaticToken("t")}
	for name, tt := range map[string]struct {
		answer answer
		status int // of the problem, if it is one
	}{
		"token refused":       {refuse(401, "token_expired"), 401},
		"forbidden":           {refuse(403, "device_mismatch"), 403},
		"bad cursor":          {refuse(400, "invalid_cursor"), 400},
		"not found":           {reply(404, "text/html", ""), 404},
		"asked to stop":       {reply(204, "", ""), 204},
		"something else":      {reply(200, "text/html", "<html>"), 0},
		"a page":              {reply(200, "application/json", "{}"), 0},
		"not JSON":            {streams("id: 1\ndata: {\n\n"), 0},
		"JSON of other types": {streams("id: 1\ndata: {\"seq\":\"x\"}\n\n"), 0},
		"too large":           {streams("data: " + strings.Repeat("x", 5<<20) + "\n\n"), 0},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFake(t, tt.answer)
			got, err := follow(t.Context(), f.client(static), client.EventsOptions{}, 1)
			if err == nil || got != nil {
				t.Fatalf("got %v, %v", got, err)
			}
			if tt.status != 0 && problemOf(t, err).Status != tt.status {
				t.Errorf("got %v", err)
			}
		})
	}
	bubble(t, "with the context, on an open stream", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		f := newFake(t, held(frame("1", "ready")))
		got, err := follow(ctx, f.client(static), client.EventsOptions{}, 9)
		if !errors.Is(err, context.DeadlineExceeded) || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	bubble(t, "with the context, between connections", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := follow(ctx, newFake(t, unreachable).client(static), client.EventsOptions{}, 9)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 500*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
	})
	bubble(t, "with the context, before the response", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := follow(ctx, newFake(t, silent).client(static), client.EventsOptions{}, 9)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	bubble(t, "with the loop, and the connection with it", func(t *testing.T) {
		f := newFake(t, held(frame("1", "ready")+frame("2", created)))
		if _, err := follow(t.Context(), f.client(static), client.EventsOptions{}, 1); err != nil {
			t.Fatal(err)
		}
		if f.asked()[0].Context().Err() == nil {
			t.Error("the request goes on")
		}
	})
}

// TestEventsOverTheNetwork follows a stream over real connections that break within a
// frame.
func TestEventsOverTheNetwork(t *testing.T) {
	const events = 200
	var connections atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := connections.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "retry: 1\n\n"+frame(r.Header.Get("Last-Event-ID"), "ready"))
		var last int
		_, _ = fmt.Sscan(r.Header.Get("Last-Event-ID"), &last)
		sent := 0
		for i := last + 1; i <= events; i++ {
			text := frame(fmt.Sprint(i), created)
			if sent++; sent > 10 {
				_, _ = io.WriteString(w, text[:int(n)*7%len(text)])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, text)
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	next := 1
	for e, err := range c.Events(t.Context(), client.EventsOptions{Cursor: "0"}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == client.EventTypeReady {
			continue
		}
		if e.ID != fmt.Sprint(next) {
			t.Fatalf("got %s, want %d", e.ID, next)
		}
		if next++; next > events {
			break
		}
	}
	if n := connections.Load(); n < events/10 {
		t.Errorf("only %d connections", n)
	}
}
