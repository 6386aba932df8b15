package client_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
)

func TestEventsIdle(t *testing.T) {
	bubble(t, "an idle connection is closed", func(t *testing.T) {
		f := newFake(t, silent, held(frame("1", "ready")), held(frame("2", created)))
		var reasons []string
		got, err := follow(t.Context(), f.client(client.Options{}), client.EventsOptions{
			OnDisconnect: func(err error, _ time.Duration) { reasons = append(reasons, err.Error()) },
		}, 2)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events", got, []string{"1 ready", "2 " + created})
		wantGaps(t, f, 46*time.Second, 46*time.Second)
		for _, r := range reasons {
			if !strings.Contains(r, "nothing received for 45s") {
				t.Errorf("reason %q", r)
			}
		}
	})
	bubble(t, "one with heartbeats is kept", func(t *testing.T) {
		f := newFake(t, func(r *request) (*http.Response, error) {
			body, in := io.Pipe()
			go func() {
				for i := range 20 {
					select {
					case <-time.After(15 * time.Second):
					case <-r.Context().Done():
						return
					}
					_, _ = fmt.Fprintf(in, ":\nid: %d\n", i)
				}
				_, _ = io.WriteString(in, frame("30", created))
			}()
			return response(r, http.StatusOK, "text/event-stream", body), nil
		})
		got, err := follow(t.Context(), f.client(client.Options{}), client.EventsOptions{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events", got, []string{"30 " + created})
	})
	bubble(t, "a slow loop keeps the connection", func(t *testing.T) {
		f := newFake(t, func(r *request) (*http.Response, error) {
			body, in := io.Pipe()
			go func() {
				for i := range 3 {
					_, _ = io.WriteString(in, frame(fmt.Sprint(i), created))
				}
			}()
			return response(r, http.StatusOK, "text/event-stream", body), nil
		})
		n := 0
		for _, err := range f.client(client.Options{}).Events(t.Context(), client.EventsOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(10 * time.Minute)
			if n++; n == 3 {
				break
			}
		}
	})
}
