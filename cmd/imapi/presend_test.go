package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
)

// presendHook is the application's server.
type presendHook struct {
	*httptest.Server
	t      *testing.T
	secret string
	asked  atomic.Int64
	// hold is closed when questions about "slow" may be answered.
	hold chan struct{}
	// before, if it is set, is called before each answer.
	before func()
}

// newPresendHook starts a hook that chooses its answer by the first word of the text, and returns
// flags for a server that asks it.
func newPresendHook(t *testing.T) (*presendHook, []string) {
	t.Helper()
	h := &presendHook{t: t, secret: "whsec_" + strings.Repeat("MfKQ", 8), hold: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(h.answer))
	t.Cleanup(func() {
		close(h.hold)
		h.Close()
	})
	file := filepath.Join(t.TempDir(), "presend.secret")
	if err := os.WriteFile(file, []byte(h.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A busy machine answers within this timeout. Tests of slow hooks set another one.
	return h, []string{"--presend-url", h.URL + "/presend", "--presend-secret", file, "--presend-timeout", "10s"}
}

// say gives a valid answer.
func (h *presendHook) say(w io.Writer, answer string) {
	h.fits("PresendAnswer", []byte(answer))
	_, _ = io.WriteString(w, answer)
}

// fits checks that a text fits a schema of the document.
func (h *presendHook) fits(schema string, text []byte) {
	spec, err := document()
	if err != nil {
		h.t.Error(err)
		return
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		h.t.Error(err)
		return
	}
	if err := spec.Components.Schemas[schema].Value.VisitJSON(v); err != nil {
		h.t.Errorf("%s does not fit %s: %v", text, schema, err)
	}
}

func (h *presendHook) answer(w http.ResponseWriter, r *http.Request) {
	h.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	verifier, e := standardwebhooks.NewWebhook(h.secret)
	if err != nil || e != nil || verifier.Verify(body, r.Header) != nil {
		h.t.Errorf("a question that is not signed: %v %v", err, e)
	}
	h.fits("PresendRequest", body)
	var q struct {
		Data struct {
			Message struct{ Body struct{ Text string } }
		}
	}
	if err := json.Unmarshal(body, &q); err != nil {
		h.t.Error(err)
	}
	if h.before != nil {
		h.before()
	}
	word, _, _ := strings.Cut(q.Data.Message.Body.Text, " ")
	switch word {
	case "refuse":
		h.say(w, `{"action":"refuse","code":"no_links","text":"No links,\nplease."}`)
	case "drop":
		h.say(w, `{"action":"drop"}`)
	case "rewrite":
		h.say(w, `{"action":"rewrite","body":{"text":"call me: ***"},"ext":{"checked":true}}`)
	case "huge":
		_, _ = io.WriteString(w, `{"action":"rewrite","body":{"text":"`+strings.Repeat("a", 6000)+`"}}`)
	case "fault":
		w.WriteHeader(http.StatusInternalServerError)
	case "nonsense":
		_, _ = io.WriteString(w, `<html>`)
	case "redirect":
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	case "slow":
		<-h.hold
	default:
		h.say(w, `{"action":"allow"}`)
	}
}

// sentAs is the answer to a send.
type sentAs struct {
	Status         int
	RetryAfter     string
	ID             string
	Code           string
	HookCode       string `json:"hook_code"`
	HookText       string `json:"hook_text"`
	Body, Ext      map[string]any
	ConversationID string `json:"conversation_id"`
	Seq            int64
}

// trySend sends a text and returns the answer, which may be a refusal.
func (s *server) trySend(token, conversation, clientID, text string) sentAs {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"type": "text", "client_id": clientID, "body": map[string]any{"text": text}})
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/v1/conversations/"+conversation+"/messages", strings.NewReader(string(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var out sentAs
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		s.t.Fatal(err)
	}
	out.Status, out.RetryAfter = res.StatusCode, res.Header.Get("Retry-After")
	return out
}

// TestPresendHook runs the binary with a real hook: each answer, failing open and closed, and the
// answers to retries.
func TestPresendHook(t *testing.T) {
	t.Parallel()
	h, flags := newPresendHook(t)
	for _, fail := range []string{"open", "closed"} {
		t.Run(fail, func(t *testing.T) {
			s := startServer(t, append(flags, "--presend-fail", fail, "--presend-timeout", "10s")...)
			alice := s.token("alice")
			bob := s.client("bob", "phone")
			var want []string // what bob reads
			send := func(text string, status int) sentAs {
				t.Helper()
				return h.sendTwice(s, alice, text, status)
			}
			send("drop first", http.StatusCreated)
			if res, err := bob.GetConversationWithResponse(t.Context(), "@alice", nil); err == nil {
				t.Errorf("bob sees a conversation of a dropped message: %s", res.Body)
			}
			send("allow", http.StatusCreated)
			want = append(want, "allow")
			refused := send("refuse http", http.StatusForbidden)
			if refused.Code != "refused_by_hook" || refused.HookCode != "no_links" || refused.HookText != "No links,\nplease." {
				t.Errorf("refused with %+v", refused)
			}
			rewritten := send("rewrite zqmarker", http.StatusCreated)
			if rewritten.Body["text"] != "call me: ***" || rewritten.Ext["checked"] != true {
				t.Errorf("rewritten to %v, %v", rewritten.Body, rewritten.Ext)
			}
			want = append(want, "call me: ***")
			send("drop this", http.StatusCreated)
			for _, text := range []string{"fault", "nonsense", "redirect", "huge"} {
				if fail == "open" {
					if m := send(text, http.StatusCreated); m.Body["text"] != text {
						t.Errorf("%s: sent as %v", text, m.Body)
					}
					want = append(want, text)
					continue
				}
				if m := send(text, http.StatusServiceUnavailable); m.Code != "hook_unavailable" || m.RetryAfter == "" {
					t.Errorf("%s: %+v", text, m)
				}
			}
			var got []string
			for _, m := range history(t, bob, "@alice") {
				got = append(got, textOf(m.Body))
			}
			if !slices.Equal(got, want) {
				t.Errorf("bob reads %q, want %q", got, want)
			}
			for _, e := range eventLog(t, bob) {
				if e.Message != nil && strings.Contains(string(e.Message.Body), "drop") {
					t.Errorf("bob gets %+v", e)
				}
			}
			metrics := s.scrape()
			for name, least := range map[string]int{
				`imapi_presend_messages_total{outcome="allowed"}`: 1, `imapi_presend_messages_total{outcome="dropped"}`: 2,
				`imapi_presend_messages_total{outcome="refused"}`: 2, `imapi_presend_messages_total{outcome="rewritten"}`: 1,
				`imapi_presend_messages_total{outcome="failed_` + fail + `"}`: 4,
				`imapi_presend_failures_total{reason="answer"}`:               1, `imapi_presend_failures_total{reason="status"}`: 2,
				`imapi_presend_duration_seconds_count`: 8,
			} {
				if got := metrics[name]; got < float64(least) {
					t.Errorf("%s is %v, want %d at least", name, got, least)
				}
			}
			if log := s.log.String(); strings.Contains(log, h.secret) || strings.Contains(log, "zqmarker") || !strings.Contains(log, "pre-send hook failed") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

// sendTwice sends a text to bob, and again under the same client_id: the answers are those of one
// message, about which the hook was asked once. It returns the first answer.
func (h *presendHook) sendTwice(s *server, token, text string, status int) sentAs {
	h.t.Helper()
	first := s.trySend(token, "@bob", text, text)
	asked := h.asked.Load()
	again := s.trySend(token, "@bob", text, text)
	if first.Status != status {
		h.t.Errorf("%s: %d %s", text, first.Status, first.Code)
	}
	if status == http.StatusCreated && (again.Status != http.StatusOK || again.ID != first.ID || h.asked.Load() != asked || fmt.Sprint(again.Body) != fmt.Sprint(first.Body)) {
		h.t.Errorf("%s: the retry gets %d and message %s for %s; asked %d times more", text, again.Status, again.ID, first.ID, h.asked.Load()-asked)
	}
	if status >= 400 && again.Status != status {
		h.t.Errorf("%s: the retry gets %d", text, again.Status)
	}
	return first
}

// TestPresendHookThatIsSlow: a message waits for the answer until the timeout.
func TestPresendHookThatIsSlow(t *testing.T) {
	t.Parallel()
	_, flags := newPresendHook(t)
	for fail, want := range map[string]int{"open": http.StatusCreated, "closed": http.StatusServiceUnavailable} {
		s := startServer(t, append(flags, "--presend-fail", fail, "--presend-timeout", "50ms")...)
		if m := s.trySend(s.token("alice"), "@bob", "c", "slow"); m.Status != want {
			t.Errorf("fail %s: %d %s", fail, m.Status, m.Code)
		}
		if n := s.scrape()[`imapi_presend_failures_total{reason="timeout"}`]; n != 1 {
			t.Errorf("fail %s: %v timeouts", fail, n)
		}
	}
}

// TestPresendHookWhileTheServerStandsStill: the answer of a hook counts although the server stood
// still for longer than the timeout before it could read it. Otherwise a message that the hook
// refuses would be sent.
func TestPresendHookWhileTheServerStandsStill(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	h, flags := newPresendHook(t)
	s := startServer(t, append(flags, "--presend-fail", "open", "--presend-timeout", timeout.String())...)
	h.before = func() { s.standStill(timeout + timeout/4) }
	if m := s.trySend(s.token("alice"), "@bob", "c", "refuse this"); m.Code != "refused_by_hook" {
		t.Errorf("answered %+v; the log:\n%s", m, s.log)
	}
}

// TestDrainWhileTheServerStandsStill: a request that runs when the server is told to end is
// answered although the server stands still for longer than it drains.
func TestDrainWhileTheServerStandsStill(t *testing.T) {
	t.Parallel()
	h, flags := newPresendHook(t)
	s := startServer(t, flags...)
	process := s.process.Process
	h.before = func() {
		if err := process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		await.Until(t, "the server drains", func() bool { return strings.Contains(s.log.String(), "draining") })
		s.standStill(drainTime + drainTime/4)
	}
	if m := s.trySend(s.token("alice"), "@bob", "c", "allow"); m.Status != http.StatusCreated {
		t.Errorf("answered %+v", m)
	}
	err := s.process.Wait()
	s.process = nil
	if log := s.log.String(); err != nil || strings.Contains(log, "requests were cut off") {
		t.Errorf("it ended with %v; the log:\n%s", err, log)
	}
}

// TestDrainIsBounded: a request that has no answer when the time to drain is over is cut off, which
// is no failure of the server.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	h, flags := newPresendHook(t)
	s := startServer(t, flags...)
	asked, answered := make(chan struct{}), make(chan error, 1)
	h.before = sync.OnceFunc(func() { close(asked) })
	alice := s.client("alice", "")
	go func() {
		_, err := alice.SendMessageWithResponse(t.Context(), "@bob", &client.SendMessageParams{}, textDraft("c", "slow"))
		answered <- err
	}()
	<-asked
	if err := s.stop(); err != nil || !strings.Contains(s.log.String(), "requests were cut off") {
		t.Errorf("it ended with %v; the log:\n%s", err, s.log)
	}
	if err := <-answered; err == nil {
		t.Error("a message that the hook has not allowed was sent")
	}
}

// standStill stops the process for a time, as a machine does that stands still.
func (s *server) standStill(d time.Duration) {
	standStill(s.t, s.process.Process, d)
}

func standStill(t testing.TB, process *os.Process, d time.Duration) {
	t.Helper()
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	time.Sleep(d)
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
}

// scrape returns the metrics of the server.
func (s *server) scrape() map[string]float64 {
	s.t.Helper()
	res, err := http.Get("http://" + s.addr + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(string(b)) {
		var v float64
		name, value, found := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := fmt.Sscan(value, &v); found && err == nil {
			values[name] = v
		}
	}
	return values
}

// TestPresendFirstVisibleMessageOpensTheConversation: bob's stream is open while alice's first
// messages are dropped. With the first one that is not dropped, bob gets the conversation and the
// message.
func TestPresendFirstVisibleMessageOpensTheConversation(t *testing.T) {
	t.Parallel()
	_, flags := newPresendHook(t)
	s := startServer(t, flags...)
	alice, bob := s.client("alice", "phone"), s.client("bob", "phone")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	events := make(chan client.Event, 100)
	go func() {
		defer close(events)
		for e, err := range bob.Events(ctx, client.EventsOptions{}) {
			if err != nil {
				return
			}
			events <- e
		}
	}()
	next := func() client.Event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case <-ctx.Done():
			t.Fatal("no event in time")
			return client.Event{}
		}
	}
	say1 := func(c *client.Client, to, text string) {
		t.Helper()
		if _, err := say(ctx, c, to, "", text); err != nil {
			t.Fatal(err)
		}
	}
	say1(bob, "@carol", "hello") // the event shows that the stream is open
	if e := next(); string(e.Type) != "ready" {
		t.Logf("first event %s", e.Type)
	}
	say1(alice, "@bob", "drop one")
	say1(alice, "@bob", "drop two")
	say1(alice, "@bob", "real")
	say1(alice, "@bob", "more")
	var got []string
	for !slices.Contains(got, "more") {
		switch e := next(); {
		case e.Message != nil && e.Message.Sender == "alice":
			got = append(got, textOf(e.Message.Body))
		case e.Actor != nil && *e.Actor == "alice":
			got = append(got, string(e.Type))
		}
	}
	if want := []string{"conversation.created", "real", "more"}; !slices.Equal(got, want) {
		t.Errorf("bob gets %q, want %q", got, want)
	}
}

// TestPresendDeadHookAffectsNobodyElse: many users send at once while the hook does not answer.
// All get their answers in a bounded time, and senders in conversations that the hook is not asked
// about are not affected.
func TestPresendDeadHookAffectsNobodyElse(t *testing.T) {
	t.Parallel()
	_, flags := newPresendHook(t)
	s := startServer(t, append(flags, "--presend-fail", "closed", "--presend-timeout", "200ms", "--presend-at-once", "8", "--presend-kinds", "direct")...)
	secret := readSecret(t, s.data)
	group := s.group(s.client("carol", "phone"), "dave")
	began := time.Now()
	var all sync.WaitGroup
	for n := range 40 {
		token := mintFor(t, secret, fmt.Sprintf("u%d", n))
		all.Go(func() {
			for i := range 5 {
				m := s.trySend(token, "@bob", fmt.Sprint(i), "slow")
				if m.Status != http.StatusServiceUnavailable || m.Code != "hook_unavailable" {
					t.Errorf("answer %d %s", m.Status, m.Code)
				}
			}
		})
	}
	carol := mintFor(t, secret, "carol")
	for i := range 20 {
		if m := s.trySend(carol, group, fmt.Sprint(i), "slow"); m.Status != http.StatusCreated {
			t.Errorf("in a group: %d %s", m.Status, m.Code)
		}
	}
	all.Wait()
	metrics := s.scrape()
	if metrics[`imapi_presend_failures_total{reason="paused"}`] == 0 {
		t.Error("the hook was never paused")
	}
	most := 16 + 8*(time.Since(began).Seconds()+1) // until the pause, and then the trials of each second
	if asked := metrics["imapi_presend_duration_seconds_count"]; asked > most {
		t.Errorf("the dead hook was asked %v times in %v", asked, time.Since(began))
	}
}

// TestDroppedMessagesLeakToNobody: the crawler finds dropped messages only as their sender, and in
// no file. Once they are revoked, it finds them nowhere.
func TestDroppedMessagesLeakToNobody(t *testing.T) {
	t.Parallel()
	h, flags := newPresendHook(t)
	sc := newScene(t, flags...)
	m := newMarker()
	var ids []string
	for _, conversation := range append(sc.conversations(), sc.direct, sc.group, "@carol") {
		body := fmt.Sprintf(`{"type":"text","body":{"text":"drop %[1]s"},"ext":{"%[1]s":["%[1]s"]},"mentions":["bob"],"push":{"title":"%[1]s"}}`, m.text)
		sent := sc.post("alice", "/v1/conversations/"+conversation+"/messages", body)
		ids = append(ids, sent["id"].(string))
		sc.ids["message"] = append(sc.ids["message"], sent["id"].(string))
	}
	sc.ids["conversation"] = append(sc.ids["conversation"], "@carol")
	sc.inNoFile(m)
	seen := 0
	for _, where := range sc.leaks(m) {
		if strings.HasPrefix(where, "GET /v1/admin/export as root") {
			continue // admins export every message
		}
		if strings.Contains(where, " as alice as ") || strings.HasPrefix(where, "the stream of alice") {
			seen++
		} else {
			t.Error(where)
		}
	}
	if seen == 0 {
		t.Error("the sender does not see them either")
	}
	for _, id := range ids {
		sc.post("alice", "/v1/messages/"+id+"/revoke", "{}")
	}
	for _, where := range sc.leaks(m) {
		t.Errorf("after revoking: %s", where)
	}
	if h.asked.Load() == 0 {
		t.Error("the hook was not asked")
	}
}

// textOf returns the text of a body.
func textOf(body json.RawMessage) string {
	var b struct{ Text string }
	_ = json.Unmarshal(body, &b)
	return b.Text
}

// TestPresendHookAndWebhooks: webhooks get a message as rewritten by the hook, and none that it
// dropped or refused. The hook is also asked about the final message of a data stream. If it
// refuses that, the data stream goes on, and if it drops it, only the sender learns of it.
func TestPresendHookAndWebhooks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, flags := newPresendHook(t)
	s := startServer(t, append(flags, "--webhooks-allow-private")...)
	alice, bob := s.client("alice", ""), s.client("bob", "")
	r := newReceiver(t)
	s.hook(r, "message.created", "message.revoked")

	token := s.token("alice")
	var dropped []string
	for i, text := range []string{"rewrite zqmarker", "drop zqmarker", "refuse zqmarker", "allow"} {
		if m := s.trySend(token, "@bob", fmt.Sprint(i), text); strings.HasPrefix(text, "drop") {
			dropped = append(dropped, m.ID)
		}
	}
	end := func(text string) (client.DataStream, client.StreamEnd, error) {
		t.Helper()
		return endStream(t, alice, bob, text)
	}
	ended, read, err := end("rewrite final zqmarker")
	if err != nil || ended.Ended.MessageID == nil || read.MessageID != *ended.Ended.MessageID {
		t.Errorf("rewritten: %+v, bob reads %+v, %v", ended.Ended, read, err)
	}
	ended, read, err = end("drop final zqmarker")
	if err != nil || ended.Ended.MessageID == nil || read.MessageID != "" || read.Reason != "owner" {
		t.Errorf("dropped: %+v, bob reads %+v, %v", ended.Ended, read, err)
	} else {
		dropped = append(dropped, *ended.Ended.MessageID)
	}
	_, read, err = end("refuse final zqmarker")
	if refusal, ok := errors.AsType[*client.Problem](err); !ok || refusal.Code != "refused_by_hook" || read.Reason != "owner" {
		t.Errorf("refused: bob reads %+v, %v", read, err)
	}
	for _, id := range dropped {
		if _, err := alice.RevokeMessageWithResponse(ctx, id, &client.RevokeMessageParams{}, client.Revoke{}); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.trySend(token, "@bob", "last", "last"); m.Status != http.StatusCreated {
		t.Fatal(m)
	}
	got := r.until("the last message", func(got []hookRequest) bool { return slices.Contains(texts(got), "last") })
	want := []string{"call me: ***", "allow", "call me: ***", "last"}
	if !slices.Equal(texts(got), want) || len(got) != len(want) {
		t.Errorf("%d requests, with the messages %q; want %q", len(got), texts(got), want)
	}
	for _, request := range got {
		if strings.Contains(string(request.body), "zqmarker") {
			t.Errorf("a webhook gets what the sender wrote: %s", request.body)
		}
	}
}

// endStream makes alice end a new data stream to bob with a message, and returns the answer and the
// end that bob reads. If the message is refused, she ends the data stream without one.
func endStream(t *testing.T, alice, bob *client.Client, text string) (client.DataStream, client.StreamEnd, error) {
	t.Helper()
	ctx, in := t.Context(), "@bob"
	started, err := alice.CreateDataStreamWithResponse(ctx, &client.CreateDataStreamParams{}, client.CreateDataStream{ConversationID: &in, Access: "members"})
	if err != nil {
		t.Fatal(err)
	}
	id := started.JSON201.ID
	var message client.SendMessage
	if err := message.FromSendText(client.SendText{Type: client.SendTextTypeText, Body: client.TextBody{Text: text}}); err != nil {
		t.Fatal(err)
	}
	read := make(chan client.StreamEnd, 1)
	go func() {
		last := client.StreamEnd{}
		for f, err := range bob.Frames(ctx, id, client.EventsOptions{}) {
			if err != nil {
				t.Error(err)
			}
			if f.Ended != nil {
				last = *f.Ended
			}
		}
		read <- last
	}()
	res, err := alice.EndDataStreamWithResponse(ctx, id, &client.EndDataStreamParams{}, client.EndDataStream{Message: &message})
	if err != nil {
		if _, err := alice.EndDataStreamWithResponse(ctx, id, &client.EndDataStreamParams{}, client.EndDataStream{}); err != nil {
			t.Errorf("the data stream has ended with a message that was refused: %v", err)
		}
		return client.DataStream{}, <-read, err
	}
	return *res.JSON200, <-read, nil
}
