package handlers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// witness is a store that records the caller of each call.
type witness struct {
	im.Store
	mu    sync.Mutex
	asked []im.Caller
}

func (s *witness) Write(ctx context.Context, fn func(im.Tx) error) error {
	s.mu.Lock()
	s.asked = append(s.asked, im.CallerOf(ctx))
	s.mu.Unlock()
	return s.Store.Write(ctx, fn)
}

func (s *witness) View(ctx context.Context, fn func(im.Reader) error) error {
	s.mu.Lock()
	s.asked = append(s.asked, im.CallerOf(ctx))
	s.mu.Unlock()
	return s.Store.View(ctx, fn)
}

// TestStoreLearnsTheCaller checks that the store learns the caller of each request, which
// its fairness needs.
func TestStoreLearnsTheCaller(t *testing.T) {
	w := newWorld(t)
	store := &witness{Store: w.store}
	verifier, err := auth.New(t.Context(), auth.Config{Secret: secret, TicketKey: w.store.Instance().TicketKey, TicketTTL: ticketTTL})
	if err != nil {
		t.Fatal(err)
	}
	server, routes, err := handlers.New(handlers.Options{
		Service: im.NewService(store, im.DefaultPolicy(), nil), Verifier: verifier, Hub: w.hub,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Drain()
	do := func(at http.Handler, method, path, token, body string) {
		t.Helper()
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		rec := httptest.NewRecorder()
		at.ServeHTTP(rec, req)
		if rec.Code >= http.StatusBadRequest {
			t.Fatalf("%s %s: status %d: %s", method, path, rec.Code, rec.Body)
		}
	}
	alice, control := im.Caller{User: "alice"}, im.Caller{Job: "control"}
	do(routes, http.MethodPost, "/v1/conversations", tokenOf(t, "alice"), `{"kind":"group","name":"g"}`)
	store.expect(t, alice)
	do(routes, http.MethodGet, "/v1/conversations", tokenOf(t, "alice"), "")
	store.expect(t, alice)
	do(handlers.Control("key", routes, http.NotFoundHandler()), http.MethodGet, "/v1/admin/erasures", "key", "")
	store.expect(t, control)
}

// expect checks the callers since the last call of expect.
func (s *witness) expect(t *testing.T, want im.Caller) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) == 0 {
		t.Error("the store was not called")
	}
	for _, got := range s.asked {
		if got != want {
			t.Errorf("called for %+v, want %+v", got, want)
		}
	}
	s.asked = nil
}
