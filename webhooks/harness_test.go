package webhooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// patience is a deadline, for a busy machine, for what should happen soon.
const patience = 5 * time.Minute

var root = im.Actor{User: "root", Admin: true}

// world is a store, its use cases and a deliverer with a clock that jumps to the end of every
// wait.
type world struct {
	testing.TB
	*im.Service
	ctx context.Context

	mu       sync.Mutex
	now      time.Time
	active   int
	loads    int            // the number of times that the deliverer has adopted changes
	attempts map[string]int // by result
}

// WebhookStates implements [webhooks.Observer].
func (w *world) WebhookStates(active, _, _ int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = active
	w.loads++
}

// loaded waits until the deliverer has adopted the effects of change.
func (w *world) loaded(change func()) {
	w.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.loads
	}
	before := count()
	change()
	await.Until(w, "the deliverer has adopted the change", func() bool { return count() > before })
}

// WebhookAttempted implements [webhooks.Observer].
func (w *world) WebhookAttempted(result string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts[result]++
}

// counted returns the number of attempts with each result.
func (w *world) counted() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.attempts)
}

// pause pauses the only webhook, and waits until it is paused.
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
	// With a short timeout, requests would time out on a busy machine and be repeated.
	return newWorldWith(t, outgoing.Options{AllowPrivate: private, Timeout: patience})
}

func newWorldWith(t testing.TB, requests outgoing.Options) *world {
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
	w := &world{TB: t, ctx: context.Background(), now: time.Now(), attempts: make(map[string]int)}
	policy := im.DefaultPolicy()
	policy.ReadWait = patience
	w.Service = im.NewService(store, policy, w.clock)
	id := func(at im.Position) string { return handlers.EventID(w.Service, at) }
	d := webhooks.New(webhooks.Options{
		Source: w.Service, Client: outgoing.New(requests),
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

// after does not wait: it advances the clock instead.
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

// payload is the part of a request that the tests read.
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

// receiver is an endpoint that records its requests.
type receiver struct {
	url         string
	connections atomic.Int64

	mu     sync.Mutex
	got    []payload
	status func(p payload) int
}

func newReceiver(t testing.TB, status func(payload) int) *receiver {
	r := &receiver{status: status}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		p := payload{id: in.Header.Get(standardwebhooks.HeaderWebhookID)}
		if err != nil || json.Unmarshal(body, &p) != nil {
			return // the request was cut off
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
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.connections.Add(1)
		}
	}
	server.Start()
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
