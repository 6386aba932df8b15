package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/client"
)

func TestNewRefuses(t *testing.T) {
	for _, server := range []string{"", "server", "ftp://server", "http://", "://", "/v1"} {
		if _, err := client.New(server, client.Options{}); err == nil {
			t.Errorf("%q was accepted", server)
		}
	}
}

func TestRefusalsAreProblems(t *testing.T) {
	tests := map[string]struct {
		answer answer
		want   client.Problem
		text   string
	}{
		"a problem": {
			refuse(404, "message_not_found"),
			client.Problem{Status: 404, Code: "message_not_found", Detail: "because"},
			"404 message_not_found: because (body/x)",
		},
		"a page that is not a problem": {reply(502, "text/html", "<html>"), client.Problem{Status: 502}, "502 Bad Gateway"},
		"a malformed problem":          {reply(500, "application/problem+json", "<html>"), client.Problem{Status: 500}, "500 Internal Server Error"},
		"other status inside":          {reply(429, "application/problem+json", `{"status":200,"code":"x"}`), client.Problem{Status: 429, Code: "x"}, "429 x"},
		"no type":                      {reply(400, "", ""), client.Problem{Status: 400}, "400 Bad Request"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, tt.answer)
			_, err := f.client(client.Options{}).GetMessageWithResponse(t.Context(), "m1", nil)
			p := problemOf(t, err)
			got := client.Problem{Status: p.Status, Code: p.Code, Detail: p.Detail}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("the problem (-want +got):\n%s", diff)
			}
			if p.Error() != tt.text {
				t.Errorf("got %q, want %q", p.Error(), tt.text)
			}
		})
	}
}

func TestOperations(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items":[{"id":"e1","type":"ready","at":"2026-01-02T03:04:05.678Z"}],"next_page_token":null,"cursor":"e1"}`))
	}))
	defer server.Close()
	c, err := client.New(server.URL, client.Options{Token: client.StaticToken("t"), Device: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	// The events without a stream: the answer is asked for as a page.
	limit := int32(5)
	page, err := c.GetEventsWithResponse(t.Context(), &client.GetEventsParams{Limit: &limit})
	if err != nil || page.JSON200 == nil || len(page.JSON200.Items) != 1 || page.JSON200.Cursor != "e1" {
		t.Fatalf("got %+v, %v", page, err)
	}
	if got.Header.Get("Accept") != "application/json" || got.Header.Get("Authorization") != "Bearer t" ||
		got.Header.Get("X-Device-Id") != "phone" || got.URL.RawQuery != "limit=5" {
		t.Errorf("asked %s with %v", got.URL, got.Header)
	}
	// A device given in the call takes precedence over the client's.
	tablet := "tablet"
	if _, err := c.GetEventsWithResponse(t.Context(), &client.GetEventsParams{XDeviceID: &tablet}); err != nil {
		t.Fatal(err)
	}
	if device := strings.Join(got.Header.Values("X-Device-Id"), ","); device != tablet {
		t.Errorf("device %q", device)
	}
}

func TestNoTokenNoRequest(t *testing.T) {
	want := errors.New("signed out")
	f := newFake(t)
	_, err := f.client(client.Options{
		Token: func(context.Context) (string, error) { return "", want },
	}).GetMessageWithResponse(t.Context(), "m1", nil)
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	f = newFake(t, refuse(404, "message_not_found"))
	if _, err = f.client(client.Options{}).GetMessageWithResponse(t.Context(), "m1", nil); err == nil {
		t.Error("no error")
	}
	if _, ok := f.asked()[0].Header["Authorization"]; ok {
		t.Error("a token was sent without a source")
	}
}
