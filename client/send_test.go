package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imapi/imapi/client"
)

var hi = client.SendText{Body: client.TextBody{Text: "hi"}}

func TestSend(t *testing.T) {
	const attempt = 10 * time.Second
	ok := reply(http.StatusCreated, "application/json", message(t, "x"))
	again := reply(http.StatusOK, "application/json", message(t, "x"))
	truncated := func(r *request) (*http.Response, error) {
		connected(r)
		body := io.MultiReader(strings.NewReader(`{"id":`), &failing{})
		return response(r, http.StatusCreated, "application/json", io.NopCloser(body)), nil
	}
	tests := map[string]struct {
		script []answer
		took   time.Duration
		// The kind of the error, or the status of a problem.
		kind   error
		status int
	}{
		"at once":                   {[]answer{ok}, 0, nil, 0},
		"sent before":               {[]answer{again}, 0, nil, 0},
		"silent, then there":        {[]answer{silent, again}, attempt, nil, 0},
		"lost, then there":          {[]answer{lost, again}, attempt, nil, 0},
		"answer cut, then there":    {[]answer{truncated, again}, attempt, nil, 0},
		"unreachable, then there":   {[]answer{unreachable, ok}, attempt, nil, 0},
		"unreachable":               {[]answer{unreachable, unreachable}, attempt, client.ErrUnreachable, 0},
		"never connected":           {[]answer{unanswered, unanswered}, 2 * attempt, client.ErrUnreachable, 0},
		"lost":                      {[]answer{lost, lost}, attempt, client.ErrConnectionLost, 0},
		"silent":                    {[]answer{silent, silent}, 2 * attempt, client.ErrConnectionLost, 0},
		"lost, then unreachable":    {[]answer{lost, unreachable}, attempt, client.ErrConnectionLost, 0},
		"unreachable, then silent":  {[]answer{unreachable, silent}, 2 * attempt, client.ErrConnectionLost, 0},
		"refused":                   {[]answer{refuse(403, "blocked")}, 0, nil, 403},
		"used before":               {[]answer{refuse(409, "client_id_reused")}, 0, nil, 409},
		"too many":                  {[]answer{refuse(429, "too_many_streams", "Retry-After", "1")}, 0, nil, 429},
		"fault":                     {[]answer{refuse(500, "internal")}, 0, nil, 500},
		"busy, then there":          {[]answer{refuse(503, "overloaded", "Retry-After", "2"), ok}, 2 * time.Second, nil, 0},
		"busy for long, then there": {[]answer{refuse(503, "overloaded", "Retry-After", "3600"), ok}, attempt, nil, 0},
		"busy":                      {[]answer{refuse(503, "overloaded", "Retry-After", "1"), refuse(503, "overloaded")}, time.Second, nil, 503},
		"bad gateway, then there":   {[]answer{reply(502, "text/html", "<html>"), again}, attempt, nil, 0},
		"bad gateway":               {[]answer{reply(502, "text/html", "<html>"), reply(504, "text/html", "")}, attempt, nil, 504},
		"lost, then refused":        {[]answer{lost, refuse(404, "conversation_not_found")}, attempt, nil, 404},
		"busy, then lost":           {[]answer{refuse(503, "storage_unavailable", "Retry-After", "1"), lost}, time.Second, client.ErrConnectionLost, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, tt.script...)
				begun := time.Now()
				got, err := f.client(client.Options{}).Send(t.Context(), "@bob", hi)
				if took := time.Since(begun); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				asked := f.asked()
				if len(asked) != len(tt.script) {
					t.Fatalf("%d attempts, want %d", len(asked), len(tt.script))
				}
				ids := clientIDs(t, asked)
				switch {
				case tt.kind != nil:
					other := client.ErrUnreachable
					if errors.Is(tt.kind, other) {
						other = client.ErrConnectionLost
					}
					var undecided *client.SendError
					if !errors.Is(err, tt.kind) || errors.Is(err, other) || !errors.As(err, &undecided) {
						t.Fatalf("got %v, want %v", err, tt.kind)
					}
					if undecided.ClientID != ids[0] {
						t.Errorf("the error names client_id %q, sent was %q", undecided.ClientID, ids[0])
					}
				case tt.status != 0:
					if p := problemOf(t, err); p.Status != tt.status {
						t.Errorf("got status %d", p.Status)
					}
				case err != nil || got.ID != "m1" || got.Seq != 1:
					t.Errorf("got %+v, %v", got, err)
				}
			})
		})
	}
}

// failing is a body that breaks.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// clientIDs returns the client_id of each request and checks that all are equal.
func clientIDs(t *testing.T, asked []*request) []string {
	t.Helper()
	var ids []string
	for _, r := range asked {
		var sent struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(r.content, &sent); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, sent.ClientID)
		if sent.ClientID == "" || sent.ClientID != ids[0] || string(r.content) != string(asked[0].content) {
			t.Errorf("sent %s, then %s", asked[0].content, r.content)
		}
	}
	return ids
}

func TestSendRequest(t *testing.T) {
	own := "mine"
	receipt := true
	tests := map[string]struct {
		draft client.Draft
		want  string
	}{
		"text": {
			client.SendText{Body: client.TextBody{Text: "hi"}, ClientID: &own, Mentions: &client.Mentions{"bob"}, Receipt: &receipt},
			`{"body":{"text":"hi"},"client_id":"mine","mentions":["bob"],"receipt":true,"type":"text"}`,
		},
		"location": {
			client.SendLocation{Body: client.LocationBody{Latitude: 1, Longitude: 2}, ClientID: &own},
			`{"body":{"latitude":1,"longitude":2},"client_id":"mine","type":"location"}`,
		},
		"custom": {
			client.SendCustom{Body: client.CustomBody{Name: "n"}, ClientID: &own},
			`{"body":{"name":"n"},"client_id":"mine","type":"custom"}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, reply(http.StatusCreated, "application/json", message(t, own)))
			c := f.client(client.Options{Token: client.StaticToken("t"), Device: "phone"})
			if _, err := c.Send(t.Context(), "@a/b %", tt.draft); err != nil {
				t.Fatal(err)
			}
			r := f.asked()[0]
			if got := string(r.content); got != tt.want {
				t.Errorf("sent %s, want %s", got, tt.want)
			}
			if r.Method != http.MethodPost || r.URL.Path != "/base/v1/conversations/@a/b %/messages" ||
				!strings.HasSuffix(r.URL.EscapedPath(), "a%2Fb%20%25/messages") {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			for header, want := range map[string]string{
				"Authorization": "Bearer t", "X-Device-Id": "phone", "Content-Type": "application/json",
			} {
				if got := r.Header.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
		})
	}
	t.Run("a draft is not changed", func(t *testing.T) {
		ok := reply(http.StatusCreated, "application/json", message(t, "x"))
		f := newFake(t, ok, ok)
		c := f.client(client.Options{})
		draft := client.SendText{Body: client.TextBody{Text: "hi"}}
		for range 2 {
			if _, err := c.Send(t.Context(), "c1", draft); err != nil {
				t.Fatal(err)
			}
		}
		if string(f.asked()[0].content) == string(f.asked()[1].content) || draft.ClientID != nil {
			t.Error("two messages were sent as one")
		}
	})
}

func TestSendStopsWithItsContext(t *testing.T) {
	for name, tt := range map[string]struct {
		first answer
		kind  error // nil: nothing but the context's
	}{
		"while it waits after no connection": {unreachable, nil},
		"while it connects":                  {unanswered, nil},
		"while it waits after a lost one":    {lost, client.ErrConnectionLost},
		"while it waits for the answer":      {silent, client.ErrConnectionLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				f := newFake(t, tt.first)
				begun := time.Now()
				_, err := f.client(client.Options{}).Send(ctx, "c1", hi)
				if took := time.Since(begun); took != 3*time.Second {
					t.Errorf("took %v", took)
				}
				if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, tt.kind) && tt.kind != nil {
					t.Errorf("got %v", err)
				}
				var undecided *client.SendError
				if errors.As(err, &undecided) != (tt.kind != nil) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestSendReportsOtherErrors(t *testing.T) {
	t.Run("no token", func(t *testing.T) {
		want := errors.New("the application is offline")
		f := newFake(t)
		_, err := f.client(client.Options{
			Token: func(context.Context) (string, error) { return "", want },
		}).Send(t.Context(), "c1", hi)
		if !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not JSON", func(t *testing.T) {
		broken := json.RawMessage("{")
		_, err := newFake(t).client(client.Options{}).Send(t.Context(), "c1", client.SendText{Ext: &broken})
		if err == nil {
			t.Error("sent")
		}
	})
	t.Run("an answer that is not a message", func(t *testing.T) {
		f := newFake(t, reply(http.StatusCreated, "application/json", "[]"))
		if _, err := f.client(client.Options{}).Send(t.Context(), "c1", hi); err == nil {
			t.Error("no error")
		}
	})
}

// TestSendOverTheNetwork distinguishes the two failures on real connections.
func TestSendOverTheNetwork(t *testing.T) {
	send := func(t *testing.T, address string) error {
		c, err := client.New(address, client.Options{SendTimeout: time.Second, HTTPClient: &http.Client{Transport: &http.Transport{}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Send(t.Context(), "c1", hi)
		return err
	}
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if err := send(t, "http://"+listener.Addr().String()); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the server dies", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}))
		defer server.Close()
		if err := send(t, server.URL); !errors.Is(err, client.ErrConnectionLost) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the server hangs", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}))
		defer server.Close()
		if err := send(t, server.URL); !errors.Is(err, client.ErrConnectionLost) {
			t.Errorf("got %v", err)
		}
	})
}
