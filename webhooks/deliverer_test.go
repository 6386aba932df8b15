package webhooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/outgoing"
	"github.com/imapi/imapi/storage"
	"github.com/imapi/imapi/webhooks"
)

// patience is a deadline for what happens soon, on a busy machine.
const patience = 5 * time.Minute

var root = im.Actor{User: "root", Admin: true}

// world is a store, its use cases and a deliverer with a clock that jumps to the end of every
// wait.
type world struct {
	testing.TB
	*im.Service
	ctx context.Context

	mu     sync.Mutex
	now    time.Time
	active int
}

// WebhookStates implements [webhooks.Observer].
func (w *world) WebhookStates(active, _, _ int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = active
}

// WebhookAttempted implements [webhooks.Observer].
func (w *world) WebhookAttempted(string) {}

// pause pauses the only webhook, and waits until it is.
func (w *world) pause(id im.ID) {
	w.Helper()
	w.set(id, false)
	await.Until(w, "it is paused", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.active == 0
	})
}

func newWorld(t testing.TB, private bool) *world {
	t.Helper()
	// A request that ends by its time on a busy machine would be repeated.
	return newWorldWithin(t, private, patience)
}

// newWorldWithin is newWorld with the time that a request may take.
func newWorldWithin(t testing.TB, private bool, timeout time.Duration) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := storage.Open(t.Context(), "", storage.Options{DataDir: t.TempDir(), Synchronous: "normal", ReadLimit: time.Minute, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{TB: t, ctx: context.Background(), now: time.Now()}
	w.Service = im.NewService(store, im.DefaultPolicy(), w.clock)
	id := func(at im.Position) string { return handlers.EventID(w.Service, at) }
	d := webhooks.New(webhooks.Options{
		Source: w.Service, Client: outgoing.New(outgoing.Options{AllowPrivate: private, Timeout: timeout}),
		Encode:  func(c im.WebhookContent) []byte { return handlers.EncodeWebhook(c, id) },
		ID:      id,
		Offline: func(users []im.UserID) []im.UserID { return users },
		Logger:  log, Observer: w, Now: w.clock, After: w.after,
	})
	store.OnCommit(d.Committed)
	ctx, stop := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		d.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// after is a wait that is over at once: the clock jumps instead.
func (w *world) after(d time.Duration) <-chan time.Time {
	w.pass(d)
	c := make(chan time.Time, 1)
	c <- w.clock()
	return c
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) hook(url string, events ...im.EventType) im.WebhookView {
	w.Helper()
	v, err := w.CreateWebhook(w.ctx, root, im.WebhookDraft{URL: &url, Events: &events})
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func (w *world) say(text string) im.Message {
	w.Helper()
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		w.Fatal(err)
	}
	sent, err := w.Send(w.ctx, im.Actor{User: "alice"}, im.ConversationRef{Peer: "bob"}, im.Draft{Type: im.Text, Body: body})
	if err != nil {
		w.Fatal(err)
	}
	return sent.Message
}

func (w *world) deliveries(id im.ID, state im.DeliveryState) []im.WebhookDelivery {
	w.Helper()
	list, err := w.WebhookDeliveries(w.ctx, root, im.DeliveryQuery{Webhook: id, State: state, Before: im.Latest, Limit: 1000})
	if err != nil {
		w.Fatal(err)
	}
	return list
}

func (w *world) stateOf(id im.ID) im.WebhookView {
	w.Helper()
	v, err := w.Webhook(w.ctx, root, id)
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func (w *world) set(id im.ID, active bool) {
	w.Helper()
	if _, err := w.UpdateWebhook(w.ctx, root, id, im.WebhookDraft{Active: &active}); err != nil {
		w.Fatal(err)
	}
}

// payload is what the tests read of a request.
type payload struct {
	id   string
	Type string
	Data struct {
		Reason  string
		After   string
		Message struct {
			State string
			Body  struct{ Text string }
		}
	}
}

// receiver is an endpoint that keeps what it gets.
type receiver struct {
	url string

	mu     sync.Mutex
	got    []payload
	status func(p payload) int
}

func newReceiver(t testing.TB, status func(payload) int) *receiver {
	r := &receiver{status: status}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		p := payload{id: in.Header.Get(standardwebhooks.HeaderWebhookID)}
		if err != nil || json.Unmarshal(body, &p) != nil {
			return // it was cut off
		}
		r.mu.Lock()
		answer := http.StatusNoContent
		if r.status != nil {
			answer = r.status(p)
		}
		r.got = append(r.got, p)
		r.mu.Unlock()
		out.WriteHeader(answer)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) answer(status func(payload) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) all() []payload {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// said returns the texts of the messages and the types of other events, in order.
func (r *receiver) said() (list []string) {
	for _, p := range r.all() {
		if text := p.Data.Message.Body.Text; text != "" {
			list = append(list, text)
		} else {
			list = append(list, strings.TrimSpace(p.Type+" "+p.Data.Reason+p.Data.Message.State))
		}
	}
	return list
}

func (w *world) expect(r *receiver, want ...string) {
	w.Helper()
	await.Until(w, fmt.Sprint("the receiver has ", want), func() bool { return len(r.said()) >= len(want) })
	if got := r.said(); !slices.Equal(got, want) {
		w.Errorf("the receiver got %q, want %q", got, want)
	}
}

// A webhook that fails for three days is off, the others learn of it, and it continues where
// it was once it is resumed.
func TestOffAfterThreeDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	failing := newReceiver(t, func(payload) int { return 503 })
	watching := newReceiver(t, nil)
	w.hook(watching.url, im.WebhookDisabled)
	id := w.hook(failing.url, im.MessageCreated).ID
	first := w.clock()
	w.say("one")
	w.expect(watching, "webhook.disabled failing")
	if took := w.clock().Sub(first); took < im.WebhookPatience || took > im.WebhookPatience+2*time.Hour {
		t.Errorf("it was turned off after %v", took)
	}
	v := w.stateOf(id)
	if v.State != im.WebhookOff || v.Reason != im.WebhookFailing {
		t.Errorf("the webhook is %+v", v)
	}
	list := w.deliveries(id, im.DeliveryRetrying)
	if len(list) != 1 || list[0].Status != 503 || list[0].Fault != im.FaultFailed || list[0].Attempts != len(failing.all()) {
		t.Errorf("%d requests, deliveries %+v", len(failing.all()), list)
	}
	if _, err := w.TestWebhook(w.ctx, root, id); err == nil {
		t.Error("a webhook that is off was tested")
	}
	w.say("two")
	tries := len(failing.all())
	failing.answer(nil)
	w.set(id, true)
	await.Until(w, "both", func() bool { return len(failing.all()) == tries+2 })
	if got := failing.said()[tries:]; !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("after the resumption it got %q", got)
	}
}

// An event that is refused is skipped after five attempts, the others come in order, and a
// redelivery brings it later, with the content of then.
func TestSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, func(p payload) int {
		if p.Data.Message.Body.Text == "two" {
			return 422
		}
		return 200
	})
	hook := w.hook(r.url, im.MessageCreated)
	w.say("one")
	refused := w.say("two")
	w.say("three")
	w.expect(r, "one", "two", "two", "two", "two", "two", "three")
	await.Until(w, "it is listed", func() bool { return len(w.deliveries(hook.ID, im.DeliverySkipped)) == 1 })
	skipped := w.deliveries(hook.ID, im.DeliverySkipped)[0]
	if skipped.Attempts != 5 || skipped.Status != 422 || skipped.Fault != im.FaultRefused || skipped.Message != refused.ID {
		t.Errorf("it is listed as %+v", skipped)
	}
	ids := make(map[string]bool)
	for _, p := range r.all()[1:6] {
		ids[p.id] = true
	}
	if len(ids) != 1 {
		t.Errorf("the attempts have the ids %v", ids)
	}
	if _, err := w.Revoke(w.ctx, im.Actor{User: "alice"}, refused.ID, im.RevokeNote{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Redeliver(w.ctx, root, hook.ID, skipped.Position); err != nil {
		t.Fatal(err)
	}
	w.expect(r, "one", "two", "two", "two", "two", "two", "three", "message.created revoked")
	await.Until(w, "it is delivered", func() bool { return len(w.deliveries(hook.ID, im.DeliveryDone)) == 3 })
	if d := w.deliveries(hook.ID, im.DeliveryDone)[1]; d.Attempts != 6 || d.Position != skipped.Position {
		t.Errorf("the redelivery is listed as %+v", d)
	}
}

// A message that is deleted while it is retried is left out, and the next event has all of its
// attempts.
func TestDeletedWhileRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var attempts int // used by one request at a time
	r := newReceiver(t, func(payload) int {
		if attempts++; attempts == 4 {
			if err := w.DeleteConversation(w.ctx, im.Actor{User: "alice"}, im.ConversationRef{Peer: "bob"}); err != nil {
				t.Error(err)
			}
		}
		return 422
	})
	hook := w.hook(r.url, im.MessageCreated)
	w.say("deleted")
	w.expect(r, "deleted", "deleted", "deleted", "deleted")
	w.say("next")
	w.expect(r, "deleted", "deleted", "deleted", "deleted", "next", "next", "next", "next", "next")
	await.Until(w, "both are skipped", func() bool { return len(w.deliveries(hook.ID, im.DeliverySkipped)) == 2 })
	for i, want := range []int{5, 4} {
		if d := w.deliveries(hook.ID, 0)[i]; d.State != im.DeliverySkipped || d.Attempts != want {
			t.Errorf("delivery %d is listed as %+v, want it skipped after %d attempts", i, d, want)
		}
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, func(payload) int { return 410 })
	id := w.hook(r.url).ID
	w.say("one")
	await.Until(w, "it is off", func() bool { return w.stateOf(id).State == im.WebhookOff })
	if got := w.stateOf(id).Reason; got != im.WebhookGone || len(r.all()) != 1 {
		t.Errorf("it is off because it is %v, after %d requests", got, len(r.all()))
	}
}

// A receiver that never answers costs the other webhooks nothing.
func TestDeadReceiver(t *testing.T) {
	t.Parallel()
	w := newWorldWithin(t, true, 5*time.Second)
	release := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(dead.Close)
	t.Cleanup(func() { close(release) })
	r := newReceiver(t, nil)
	slow := w.hook(dead.URL, im.MessageCreated)
	w.hook(r.url, im.MessageCreated)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint("text ", i))
		w.say(want[i])
	}
	w.expect(r, want...)
	await.Until(w, "a timeout", func() bool {
		list := w.deliveries(slow.ID, im.DeliveryRetrying)
		return len(list) == 1 && list[0].Fault == im.FaultTimeout
	})
}

// A receiver that answers nonsense has not got the event.
func TestNonsense(t *testing.T) {
	t.Parallel()
	endless := func(line string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}
	}
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	for name, tt := range map[string]struct {
		answer func(net.Conn)
		want   []im.DeliveryFault
	}{
		"nothing":           {func(net.Conn) {}, []im.DeliveryFault{im.FaultResponse}},
		"no HTTP":           {says("SSH-2.0-OpenSSH_9.9\r\n"), []im.DeliveryFault{im.FaultResponse}},
		"half an answer":    {says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), []im.DeliveryFault{im.FaultResponse}},
		"endless headers":   {endless("X-A: " + strings.Repeat("a", 1000) + "\r\n"), []im.DeliveryFault{im.FaultResponse}},
		"an endless body":   {endless("\r\n" + strings.Repeat("a", 1000)), []im.DeliveryFault{im.FaultResponse}},
		"a redirect":        {says("HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), []im.DeliveryFault{im.FaultRedirected}},
		"another protocol":  {says("HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: Upgrade\r\n\r\n"), []im.DeliveryFault{im.FaultFailed, im.FaultResponse}},
		"endless 1xx":       {endless("\r\nHTTP/1.1 103 x\r\nX-A: " + strings.Repeat("a", 1000) + "\r\n"), []im.DeliveryFault{im.FaultResponse, im.FaultTimeout}},
		"a status of 99999": {says("HTTP/1.1 99999 x\r\nContent-Length: 0\r\n\r\n"), []im.DeliveryFault{im.FaultResponse, im.FaultFailed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, true)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer func() { _ = c.Close() }()
						_, _ = c.Read(make([]byte, 64<<10))
						tt.answer(c)
					}()
				}
			}()
			id := w.hook("http://"+l.Addr().String(), im.MessageCreated).ID
			w.say("one")
			await.Until(w, "a failure", func() bool { return len(w.deliveries(id, im.DeliveryRetrying)) == 1 })
			if d := w.deliveries(id, im.DeliveryRetrying)[0]; !slices.Contains(tt.want, d.Fault) {
				t.Errorf("the fault is %v, want one of %v", d.Fault, tt.want)
			}
			if v := w.stateOf(id); v.Position >= v.Head {
				t.Errorf("the event counts as delivered: %+v", v)
			}
		})
	}
}

// A private address is refused when it is connected to, whatever the webhook's URL was when
// it was stored.
func TestPrivateAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	r := newReceiver(t, nil)
	id := w.hook(strings.Replace(r.url, "http://", "https://", 1), im.MessageCreated).ID
	w.say("one")
	await.Until(w, "a failure", func() bool { return len(w.deliveries(id, im.DeliveryRetrying)) == 1 })
	if d := w.deliveries(id, im.DeliveryRetrying)[0]; d.Fault != im.FaultAddress || len(r.all()) > 0 {
		t.Errorf("the fault is %v, after %d requests", d.Fault, len(r.all()))
	}
}

// What was erased while a webhook was paused comes as a tombstone, and what the log has
// trimmed as a gap.
func TestPausedForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, nil)
	id := w.hook(r.url, im.MessageCreated).ID
	w.say("one")
	w.expect(r, "one")
	w.pause(id)
	erased := w.say("two")
	w.say("three")
	if _, err := w.Revoke(w.ctx, im.Actor{User: "alice"}, erased.ID, im.RevokeNote{}); err != nil {
		t.Fatal(err)
	}
	w.set(id, true)
	w.expect(r, "one", "message.created revoked", "three")

	w.pause(id)
	w.say("four")
	w.pass(8 * 24 * time.Hour)
	if n, err := w.TrimLog(w.ctx); n == 0 || err != nil {
		t.Fatalf("trimmed %d events: %v", n, err)
	}
	w.say("five")
	w.set(id, true)
	w.expect(r, "one", "message.created revoked", "three", "webhook.gap trimmed", "five")
	all := r.all()
	if gap := all[3]; gap.Data.After == "" {
		t.Errorf("the gap is after %q, the event before it is %s", gap.Data.After, all[2].id)
	}
	await.Until(w, "the gap is listed", func() bool {
		return slices.ContainsFunc(w.deliveries(id, im.DeliveryDone), func(d im.WebhookDelivery) bool { return d.Type == im.WebhookGap })
	})
	if _, err := w.RedeliverFrom(w.ctx, root, id, 1); err == nil {
		t.Error("events that were trimmed are delivered again")
	}
}

// A replaced secret signs for a day, together with the new one.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var mu sync.Mutex
	var signed []func(secret string) bool
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body)
		mu.Lock()
		defer mu.Unlock()
		signed = append(signed, func(secret string) bool {
			verifier, err := standardwebhooks.NewWebhook(secret)
			return err == nil && verifier.VerifyIgnoringTimestamp(body, in.Header) == nil
		})
	}))
	t.Cleanup(server.Close)
	hook := w.hook(server.URL, im.MessageCreated)
	check := func(what string, old, replaced bool, second string) {
		t.Helper()
		mu.Lock()
		n := len(signed)
		mu.Unlock()
		w.say(what)
		await.Until(w, what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(signed) > n
		})
		mu.Lock()
		defer mu.Unlock()
		by := signed[len(signed)-1]
		if by(hook.Secret) != old || by(second) != replaced {
			t.Errorf("%s: signed by the first %t, by the second %t", what, by(hook.Secret), by(second))
		}
	}
	check("before", true, false, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	second, err := w.RotateWebhookSecret(w.ctx, root, hook.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	await.Until(w, "the new secret is used", func() bool {
		w.say("which?")
		mu.Lock()
		defer mu.Unlock()
		return len(signed) > 0 && signed[len(signed)-1](second.Secret)
	})
	check("in the day after", true, true, second.Secret)
	w.pass(25 * time.Hour)
	if n, err := w.ForgetPreviousSecrets(w.ctx); n != 1 || err != nil {
		t.Fatalf("forgot %d: %v", n, err)
	}
	await.Until(w, "the old secret is not used", func() bool {
		w.say("which?")
		mu.Lock()
		defer mu.Unlock()
		return !signed[len(signed)-1](hook.Secret)
	})
	check("later", false, true, second.Secret)
}

// Filters by type and kind leave out the rest, and the position moves past it.
func TestFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	r := newReceiver(t, nil)
	kinds := []im.Kind{im.Group}
	hook := w.hook(r.url, im.MessageCreated)
	if _, err := w.UpdateWebhook(w.ctx, root, hook.ID, im.WebhookDraft{Kinds: &kinds}); err != nil {
		t.Fatal(err)
	}
	group, err := w.CreateGroup(w.ctx, im.Actor{User: "alice"}, im.GroupDraft{Kind: im.Group, Name: "g", Members: []im.UserID{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		w.say("not this")
		if i%10 == 0 {
			_, err := w.Send(w.ctx, im.Actor{User: "alice"}, im.ConversationRef{ID: group.ID}, im.Draft{Type: im.Text, Body: json.RawMessage(`{"text":"this"}`)})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	w.expect(r, "this", "this")
	if _, err := w.TestWebhook(w.ctx, root, hook.ID); err != nil {
		t.Fatal(err)
	}
	w.expect(r, "this", "this", "webhook.test")
	await.Until(w, "it has caught up", func() bool { v := w.stateOf(hook.ID); return v.Position == v.Head })
}
