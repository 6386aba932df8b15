package presend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/presend"
)

var testSecret = "whsec_" + strings.Repeat("MfKQ", 8)

// asking returns a client of a hook that answers with h.
func asking(t *testing.T, o presend.Options, h http.HandlerFunc) *presend.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o.URL, o.Secret, o.MaxMessageBytes = s.URL, testSecret, 5120
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	c, err := presend.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func question(t testing.TB, sender im.UserID, d im.Draft, c im.Conversation) im.PresendQuestion {
	t.Helper()
	content, err := d.Content(5120)
	if err != nil {
		t.Fatal(err)
	}
	return im.PresendQuestion{
		Conversation: c, Sender: sender, SenderDevice: "phone", Draft: d, Given: content, Content: content,
		At: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
	}
}

func text(t testing.TB, sender im.UserID) im.PresendQuestion {
	t.Helper()
	return question(t, sender, im.Draft{Type: im.Text, Body: json.RawMessage(`{"text":"x"}`)}, im.Conversation{ID: 7, Kind: im.Group})
}

func TestQuestionIsSignedAndComplete(t *testing.T) {
	var got []byte
	now := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	c := asking(t, presend.Options{Now: func() time.Time { return now }}, func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		verifier, err := standardwebhooks.NewWebhook(testSecret)
		if err == nil {
			err = verifier.VerifyIgnoringTimestamp(got, r.Header)
		}
		if at := r.Header.Get(standardwebhooks.HeaderWebhookTimestamp); at != strconv.FormatInt(now.Unix(), 10) {
			t.Errorf("the timestamp is %s, want that of %v", at, now)
		}
		if err != nil || !strings.HasPrefix(r.Header.Get("webhook-id"), "presend_") {
			t.Errorf("headers %v: %v", r.Header, err)
		}
		_, _ = io.WriteString(w, `{"action":"allow"}`)
	})
	d := im.Draft{
		ClientID: "c-1", Type: im.Text, Body: json.RawMessage(`{"text":"hi \"you\""}`), Ext: json.RawMessage(`{"a":1}`),
		Mentions: []im.UserID{"bob"}, ReplyTo: "06d8n3v2k0g1q", Receipt: true, Push: json.RawMessage(`{"p":1}`),
	}
	for _, test := range []struct {
		name         string
		conversation im.Conversation
		want         string
	}{
		{
			"direct, new",
			im.Conversation{Kind: im.Direct, Peers: im.PeersOf("alice", "bob")},
			`{"id":null,"kind":"direct","peer":"bob","parent_id":null,"space_id":null}`,
		},
		{
			"thread of a channel",
			im.Conversation{ID: 1 << 40, Kind: im.Thread, Parent: 2 << 40, Space: 3 << 40},
			`{"id":"` + im.ID(1<<40).String() + `","kind":"thread","peer":null,"parent_id":"` + im.ID(2<<40).String() + `","space_id":"` + im.ID(3<<40).String() + `"}`,
		},
	} {
		answer, err := c.Ask(t.Context(), question(t, "alice", d, test.conversation))
		if err != nil || answer.Action != im.PresendAllow {
			t.Fatalf("%s: %+v, %v", test.name, answer, err)
		}
		want := `{"type":"message.presend","timestamp":"2026-01-02T03:04:05.678Z","data":{"sender":"alice","sender_device":"phone","client_id":"c-1",` +
			`"conversation":` + test.want + `,"message":{"body":{"text":"hi \"you\""},"ext":{"a":1},"mentions":["bob"],"push":{"p":1},"receipt":true,` +
			`"reply_to":"06d8n3v2k0g1q","type":"text"}}}`
		if string(got) != want || !json.Valid(got) {
			t.Errorf("%s: asked\n%s, want\n%s", test.name, got, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name, body string
		status     int
		want       im.PresendAnswer
		why        presend.Why
	}{
		{name: "allow", body: `{"action":"allow"}`, want: im.PresendAnswer{Action: im.PresendAllow}},
		{name: "allow, spaced", body: " {\n\"action\" : \"allow\" } \n", want: im.PresendAnswer{Action: im.PresendAllow}},
		{name: "drop", body: `{"action":"drop"}`, want: im.PresendAnswer{Action: im.PresendDrop}},
		{name: "refuse", body: `{"text":"no \u00fc","action":"refuse","code":"spam"}`, want: im.PresendAnswer{Action: im.PresendRefuse, Code: "spam", Text: "no ü"}},
		{name: "rewrite", body: `{"action":"rewrite","body":{"text":"y"},"ext":{}}`, want: im.PresendAnswer{Action: im.PresendRewrite, Body: json.RawMessage(`{"text":"y"}`), Ext: json.RawMessage(`{}`)}},
		{name: "no action", body: `{}`, want: im.PresendAnswer{}}, // package im refuses it

		{name: "empty", why: presend.WhyAnswer},
		{name: "HTML", body: "<html>", why: presend.WhyAnswer},
		{name: "array", body: `["allow"]`, why: presend.WhyAnswer},
		{name: "string", body: `"allow"`, why: presend.WhyAnswer},
		{name: "two answers", body: `{"action":"allow"}{"action":"drop"}`, why: presend.WhyAnswer},
		{name: "two actions", body: `{"action":"allow","action":"drop"}`, why: presend.WhyAnswer},
		{name: "unknown action", body: `{"action":"ignore"}`, why: presend.WhyAnswer},
		{name: "action that is a number", body: `{"action":1}`, why: presend.WhyAnswer},
		{name: "action that is null", body: `{"action":null}`, why: presend.WhyAnswer},
		{name: "unknown member", body: `{"action":"allow","reason":"x"}`, why: presend.WhyAnswer},
		{name: "body that is a string", body: `{"action":"rewrite","body":"x"}`, why: presend.WhyAnswer},
		{name: "ext that is null", body: `{"action":"rewrite","ext":null}`, why: presend.WhyAnswer},
		{name: "bad UTF-8", body: "{\"action\":\"refuse\",\"code\":\"a\",\"text\":\"\xff\"}", why: presend.WhyAnswer},
		{name: "nested deeply", body: `{"action":"rewrite","ext":` + strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat(`}`, 101), why: presend.WhyAnswer},
		{name: "names twice inside", body: `{"action":"rewrite","ext":{"a":1,"a":2}}`, why: presend.WhyAnswer},
		{name: "too many values", body: `{"action":"rewrite","ext":{"a":[` + strings.Repeat("1,", 20_000) + `1]}}`, why: presend.WhyAnswer},
		{name: "too long", body: `{"action":"allow"}` + strings.Repeat(" ", 1<<20), why: presend.WhyAnswer},
		{name: "no content", status: http.StatusNoContent, why: presend.WhyStatus},
		{name: "created", status: http.StatusCreated, body: `{"action":"allow"}`, why: presend.WhyStatus},
		{name: "redirect", status: http.StatusFound, why: presend.WhyStatus},
		{name: "fault", status: http.StatusInternalServerError, body: `{"action":"allow"}`, why: presend.WhyStatus},
	} {
		t.Run(test.name, func(t *testing.T) {
			observed := presend.Why("not observed")
			c := asking(t, presend.Options{Observe: func(_ time.Duration, why presend.Why) { observed = why }}, func(w http.ResponseWriter, _ *http.Request) {
				if test.status != 0 {
					w.WriteHeader(test.status)
				}
				_, _ = io.WriteString(w, test.body)
			})
			answer, err := c.Ask(t.Context(), text(t, "alice"))
			if observed != test.why {
				t.Errorf("observed %q, want %q", observed, test.why)
			}
			if test.why != "" {
				if failure, ok := errors.AsType[*presend.Failure](err); !ok || failure.Why != test.why {
					t.Errorf("answer %+v, error %v, want %s", answer, err, test.why)
				}
				return
			}
			if err != nil || answer.Action != test.want.Action || answer.Code != test.want.Code || answer.Text != test.want.Text ||
				!bytes.Equal(answer.Body, test.want.Body) || !bytes.Equal(answer.Ext, test.want.Ext) {
				t.Errorf("answer %+v, error %v", answer, err)
			}
		})
	}
}

func TestSlowAndDeadHooks(t *testing.T) {
	until := make(chan struct{})
	var asked atomic.Bool
	defer close(until)
	for timeout := 20 * time.Millisecond; !asked.Load(); timeout *= 2 { // on a slow machine the first may not reach it
		slow := asking(t, presend.Options{Timeout: timeout}, func(http.ResponseWriter, *http.Request) { asked.Store(true); <-until })
		_, err := slow.Ask(t.Context(), text(t, "alice"))
		if failure, ok := errors.AsType[*presend.Failure](err); !ok || failure.Why != "timeout" {
			t.Fatalf("a hook that is slower than %v: %v", timeout, err)
		}
	}
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	dead, err := presend.New(presend.Options{URL: s.URL, Secret: testSecret, Timeout: time.Minute, MaxMessageBytes: 5120})
	if err != nil {
		t.Fatal(err)
	}
	_, err = dead.Ask(t.Context(), text(t, "alice"))
	if failure, ok := errors.AsType[*presend.Failure](err); !ok || failure.Why != "connect" {
		t.Errorf("a dead hook: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = dead.Ask(ctx, text(t, "alice")); !errors.Is(err, context.Canceled) {
		t.Errorf("a sender who has disconnected: %v", err)
	}
}

// TestFailingHookIsPaused: after failures of several users the hook is not asked for a while.
// A single user cannot cause that, and the first answer ends it.
func TestFailingHookIsPaused(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pass := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	var works atomic.Bool
	var asked atomic.Int64
	c := asking(t, presend.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }}, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if !works.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, `{"action":"allow"}`)
	})
	ask := func(user im.UserID) presend.Why {
		t.Helper()
		_, err := c.Ask(t.Context(), text(t, user))
		if failure, ok := errors.AsType[*presend.Failure](err); ok {
			return failure.Why
		}
		return ""
	}
	for range 30 {
		for _, user := range []im.UserID{"alice", "bob"} {
			if why := ask(user); why != presend.WhyStatus {
				t.Fatalf("two users: %s", why)
			}
		}
	}
	if why := ask("carol"); why != presend.WhyStatus {
		t.Fatalf("a third user: %s", why)
	}
	before := asked.Load()
	for _, user := range []im.UserID{"alice", "dave"} {
		if why := ask(user); why != presend.WhyPaused {
			t.Errorf("%s while it is paused: %s", user, why)
		}
	}
	pass(2 * time.Second)
	if why := ask("alice"); why != presend.WhyStatus {
		t.Errorf("a trial: %s", why)
	}
	if why := ask("bob"); why != presend.WhyPaused {
		t.Errorf("after a failed trial: %s", why)
	}
	if n := asked.Load() - before; n != 1 {
		t.Errorf("the paused hook was asked %d times, want one trial", n)
	}
	works.Store(true)
	pass(2 * time.Second)
	for _, user := range []im.UserID{"bob", "alice", "carol"} {
		if why := ask(user); why != "" {
			t.Errorf("%s after it works again: %s", user, why)
		}
	}
}

// TestLogQuotesNothing: the log contains neither the message, the answer, the URL's path nor the
// secret, and a dead hook does not fill it, but has a line every ten seconds.
func TestLogQuotesNothing(t *testing.T) {
	const marker = "zq-marker-79"
	var log bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := asking(t, presend.Options{Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"`+marker+`":"`+marker+`","action":"`+marker+`"}`)
	})
	q := question(t, "alice", im.Draft{Type: im.Text, Body: json.RawMessage(`{"text":"` + marker + `"}`)}, im.Conversation{ID: 7, Kind: im.Group})
	for range 100 {
		_, err := c.Ask(t.Context(), q)
		c.Failed(t.Context(), im.PresendFailedOpen, err)
	}
	c.Failed(t.Context(), im.PresendFailedOpen, im.RefuseField(im.Invalid, "invalid_request", marker, marker))
	if text := log.String(); strings.Contains(text, marker) || strings.Contains(text, testSecret) || strings.Count(text, "\n") != 1 || !strings.Contains(text, "answer") {
		t.Errorf("log:\n%s", text)
	}
	now = now.Add(10 * time.Second)
	c.Failed(t.Context(), im.PresendFailedOpen, im.RefuseField(im.Invalid, "invalid_request", marker, marker))
	if text := log.String(); strings.Contains(text, marker) || strings.Count(text, "\n") != 2 || !strings.Contains(text, "messages=101") {
		t.Errorf("ten seconds later the log is\n%s", text)
	}
}

func TestSecrets(t *testing.T) {
	for secret, ok := range map[string]bool{
		testSecret:                             true,
		"whsec_" + strings.Repeat("AAAA", 8):   true,
		"whsec_" + strings.Repeat("AAAA", 21):  true,
		"whsec_" + strings.Repeat("AAAA", 7):   false,
		"whsec_" + strings.Repeat("AAAA", 22):  false,
		"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":     false,
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL!": false,
		"whsec_":                               false,
		"":                                     false,
	} {
		if err := presend.CheckSecret(secret); (err == nil) != ok {
			t.Errorf("%q: %v", secret, err)
		}
	}
	for _, bad := range []presend.Options{
		{URL: "http://8.8.8.8/", Secret: testSecret},
		{URL: "https://169.254.169.254/", Secret: testSecret},
		{URL: "https://app.example/", Secret: "x"},
	} {
		if _, err := presend.New(bad); err == nil || strings.Contains(err.Error(), "8.8.8.8") {
			t.Errorf("%s is accepted, or quoted: %v", bad.URL, err)
		}
	}
}
