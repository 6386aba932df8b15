package client_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
)

func TestEventsTokens(t *testing.T) {
	// source returns each token in turn, and the last one from then on.
	source := func(tokens ...string) client.TokenSource {
		var n atomic.Int64
		return func(context.Context) (string, error) {
			i := min(int(n.Add(1)), len(tokens)) - 1
			return tokens[i], nil
		}
	}
	sent := func(f *fake) (tokens []string) {
		for _, r := range f.asked() {
			tokens = append(tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}
		return tokens
	}
	refused, ready := refuse(401, "token_expired"), held(frame("1", "ready"))
	bubble(t, "a new one is tried at once", func(t *testing.T) {
		f := newFake(t, refused, ready)
		_, err := follow(t.Context(), f.client(client.Options{Token: source("old", "new")}), client.EventsOptions{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "tokens", sent(f), []string{"old", "new"})
		want(t, "waits", gaps(f), []time.Duration{0})
	})
	bubble(t, "further ones are tried after a wait", func(t *testing.T) {
		f := newFake(t, refused, refused, refuse(403, "device_mismatch"), ready)
		_, err := follow(t.Context(), f.client(client.Options{Token: source("a", "b", "c", "d")}), client.EventsOptions{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "tokens", sent(f), []string{"a", "b", "c", "d"})
		if g := gaps(f); g[0] != 0 || g[1] < time.Second || g[2] < 2*time.Second {
			t.Errorf("waits %v", g)
		}
	})
	bubble(t, "the same token again ends the iteration", func(t *testing.T) {
		f := newFake(t, refused, refused)
		_, err := follow(t.Context(), f.client(client.Options{Token: source("old", "new")}), client.EventsOptions{}, 1)
		if problemOf(t, err).Code != "token_expired" {
			t.Errorf("got %v", err)
		}
	})
	bubble(t, "each connection asks for a token", func(t *testing.T) {
		f := newFake(t, streams(frame("1", "ready")), held(frame("1", "ready")))
		_, err := follow(t.Context(), f.client(client.Options{Token: source("a", "b")}), client.EventsOptions{}, 2)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "tokens", sent(f), []string{"a", "b"})
	})
	bubble(t, "a failing source ends the iteration", func(t *testing.T) {
		failure := errors.New("signed out")
		n := 0
		fails := func(context.Context) (string, error) {
			if n++; n > 1 {
				return "", failure
			}
			return "t", nil
		}
		_, err := follow(t.Context(), newFake(t, refused).client(client.Options{Token: fails}), client.EventsOptions{}, 1)
		if !errors.Is(err, failure) || problemOf(t, err).Status != 401 {
			t.Errorf("got %v", err)
		}
		_, err = follow(t.Context(), newFake(t).client(client.Options{Token: fails}), client.EventsOptions{}, 1)
		if !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	})
}
