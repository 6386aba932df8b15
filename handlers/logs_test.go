package handlers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/auth"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/handlers"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/storage"
)

// logBook records what all parts of a server log, at every level.
type logBook struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{} // holds one token
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.text.Write(b)
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug - 100}))
}

func (l *logBook) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// TestLogsHoldNoSecrets takes every path that logs something about a request, a fault or a key set,
// with one secret in everything that a client sends.
func TestLogsHoldNoSecrets(t *testing.T) {
	const secret = "zq-secret-77"
	book := &logBook{wrote: make(chan struct{}, 1)}
	w := newWorldIn(t, storage.Options{DataDir: t.TempDir(), Logger: book.logger()},
		func(o *handlers.Options, e *events.Options, _ *im.Policy) {
			o.Logger, e.Logger = book.logger(), book.logger()
			o.Demo = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(secret) })
		})
	var panics bool
	w.store.OnCommit(func(im.Commit) {
		if panics {
			panic(fmt.Errorf("listener: %s", secret))
		}
	})

	answers := func(status int, location string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(secret))
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	keySet := func(base string) func(*testing.T) {
		return func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for _, address := range []string{
				base + "/keys?token=" + secret, base + "/keys#" + secret,
				strings.Replace(base, "http://", "http://"+secret+":"+secret+"@", 1) + "/keys",
			} {
				_, err := auth.New(ctx, auth.Config{
					Algorithm: auth.ES256, JWKSURL: address, TicketKey: w.store.Instance().TicketKey, Log: book.logger(),
				})
				if err != nil {
					t.Error(err)
				}
			}
		}
	}

	for name, path := range map[string]struct {
		take func(*testing.T)
		says string // a text in the log that shows that the path was taken
	}{
		"key set, refused connection":   {keySet(gone.URL), "connection refused"},
		"key set, status":               {keySet(answers(http.StatusTeapot, "")), "answered with status 418"},
		"key set, no key set":           {keySet(answers(http.StatusOK, "")), "something that is not a key set"},
		"key set, redirected away":      {keySet(answers(http.StatusFound, "http://keys.example/?"+secret)), "redirected to an address that is not accepted"},
		"key set, redirected nowhere":   {keySet(answers(http.StatusFound, "http://%zz/"+secret)), "key set not fetched"},
		"key set, redirected and wrong": {keySet(answers(http.StatusFound, gone.URL+"/?"+secret)), "connection refused"},
		"panic in a handler": {func(t *testing.T) {
			w.in(t).do("", http.MethodGet, "/?"+secret, "")
		}, `"type":"string"`},
		"panic in a transaction": {func(t *testing.T) {
			err := w.store.Write(t.Context(), func(im.Tx) error { panic(secret) })
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("the caller gets %v", err)
			}
		}, "panic in a transaction"},
		"panic in a listener": {func(t *testing.T) {
			panics = true
			defer func() { panics = false }()
			w.in(t).say("alice", "@bob", secret)
			// Once the next commit is answered, the listeners of this one have run.
			_ = w.store.Write(t.Context(), func(im.Tx) error { return errors.New("nothing") })
		}, "panic in a commit listener"},
		"requests": {func(t *testing.T) {
			w := w.in(t)
			w.do("alice", http.MethodGet, "/v1/conversations/"+secret+"?"+secret+"="+secret, "")
			w.do("alice", http.MethodGet, "/v1/messages/search?q="+secret, "")
			w.do("", http.MethodGet, "/v1/events?ticket="+secret, "")
			w.do("", http.MethodGet, "/v1/conversations", "", "Authorization", "Bearer "+secret)
			w.do("alice", http.MethodPost, toBob, `{"type":"text","body":{"text":"`+secret+`"},"client_id":"`+secret+`","x":1}`, "X-Device-Id", secret)
		}, `"operation":"sendMessage"`},
	} {
		t.Run(name, func(t *testing.T) {
			book.take()
			path.take(t)
			text := book.take()
			for late := time.After(await.Limit); !strings.Contains(text, path.says); text += book.take() {
				select { // a request is logged after it was answered
				case <-book.wrote:
				case <-late:
					t.Fatalf("the log does not have %q: %s", path.says, text)
				}
			}
			if strings.Contains(text, secret) {
				t.Errorf("the log has the secret: %s", text)
			}
		})
	}
}
