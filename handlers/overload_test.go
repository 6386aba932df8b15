package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
)

// crowded is a store that admits no writing request.
type crowded struct {
	im.Store
	asked []im.Caller
}

func (s *crowded) Admit(_ context.Context, c im.Caller) error {
	s.asked = append(s.asked, c)
	refusal := im.Refuse(im.Unavailable, "overloaded", "too many writes are waiting")
	refusal.RetryAfter = time.Second
	return refusal
}

// unread is a body that must not be read before the answer is sent. The rest of an upload is read
// afterwards.
type unread struct {
	t      *testing.T
	answer *httptest.ResponseRecorder
}

func (b unread) Read([]byte) (int, error) {
	if !b.answer.Flushed {
		b.t.Error("the body of a refused request is read")
	}
	return 0, io.EOF
}

// While the store has too much to write, every operation that writes is refused before its body is
// read, and no other is.
func TestOverloadRefusesWritesFirst(t *testing.T) {
	w := newWorld(t)
	store := &crowded{Store: w.store}
	book := &logBook{wrote: make(chan struct{}, 1)}
	clock := &stillClock{at: time.Now()}
	verifier, err := auth.New(t.Context(), auth.Config{Secret: secret, TicketKey: w.store.Instance().TicketKey, TicketTTL: ticketTTL})
	if err != nil {
		t.Fatal(err)
	}
	var observed string
	server, routes, err := handlers.New(handlers.Options{
		Observe: func(operation string, _ int, _ time.Duration) { observed = operation },
		Service: im.NewService(store, im.DefaultPolicy(), nil), Verifier: verifier, Hub: w.hub, Logger: book.logger(), Now: clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Drain()
	spec, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{\w+\}`)
	refused := 0
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			writes := operation.Responses.Status(http.StatusInsufficientStorage) != nil
			if method == http.MethodGet && (writes || path != "/v1/conversations") || !strings.HasPrefix(path, "/v1/") {
				continue
			}
			rec := httptest.NewRecorder()
			var body io.Reader = strings.NewReader("")
			if writes {
				body = unread{t, rec}
			}
			req := httptest.NewRequest(method, parameter.ReplaceAllString(path, "x"), body)
			req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
			req.Header.Set("Content-Type", "application/json")
			routes.ServeHTTP(rec, req)
			var problem struct{ Code string }
			_ = json.Unmarshal(rec.Body.Bytes(), &problem) // not all answers are problems
			if overloaded := rec.Code == http.StatusServiceUnavailable && problem.Code == "overloaded"; overloaded != writes {
				t.Errorf("%s: %d %s, writes: %t", operation.OperationID, rec.Code, problem.Code, writes)
			}
			if writes {
				refused++
				if observed != operation.OperationID {
					t.Errorf("%s is counted as %q", operation.OperationID, observed)
				}
				if after := rec.Header().Get("Retry-After"); after != "1" {
					t.Errorf("%s: Retry-After is %q", operation.OperationID, after)
				}
			}
		}
	}
	if refused < 50 || len(store.asked) != refused {
		t.Errorf("%d operations were refused, and the store was called %d times", refused, len(store.asked))
	}
	for _, c := range store.asked {
		if c != (im.Caller{User: "alice"}) {
			t.Errorf("the store was called for %+v", c)
		}
	}

	// The log has one line for all refusals, and another after ten seconds.
	const line = `"requests were answered with 503"`
	if n := strings.Count(book.take(), line); n != 1 {
		t.Errorf("the log has %d lines about %d answers", n, refused)
	}
	clock.move(10 * time.Second)
	req := httptest.NewRequest(http.MethodDelete, "/v1/messages/x", nil)
	req.Header.Set("Authorization", "Bearer "+tokenOf(t, "alice"))
	routes.ServeHTTP(httptest.NewRecorder(), req)
	if text := book.take(); strings.Count(text, line) != 1 || !strings.Contains(text, fmt.Sprintf(`"count":%d`, refused)) {
		t.Errorf("the log after ten seconds: %s", text)
	}
}
