package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
)

// TestFramesResume reads a data stream over three connections: the second repeats a frame and loses
// some, and the third has only a heartbeat and the end.
func TestFramesResume(t *testing.T) {
	frame := func(id int) string {
		return fmt.Sprintf("id: %d\nevent: stream.frame\ndata: {\"id\":%d,\"from\":\"bot\",\"dtype\":1,\"text\":\"%d\"}\n\n", id, id, id)
	}
	answers := []string{
		"retry: 1\n" + frame(1) + frame(2) + "id: 3\nevent: stream.fr",
		"retry: 1\n" + frame(2) + "id: 5\nevent: stream.gap\ndata: {\"lost\":3}\n\n" + frame(6) + ":\nid: 6\n",
		"retry: 1\n:\nid: 6\nevent: stream.ended\ndata: {\"reason\":\"message\",\"message_id\":\"m\"}\n\n",
	}
	var resumed []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, answers[len(resumed)-1])
	}))
	defer srv.Close()
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for item, err := range c.Frames(t.Context(), "s", client.EventsOptions{MinBackoff: time.Millisecond}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case item.Frame != nil:
			got += fmt.Sprint(item.Frame.ID, *item.Frame.Text, " ")
		case item.Ended != nil:
			got += string(item.Ended.Reason) + " " + item.Ended.MessageID
		default:
			got += fmt.Sprint("lost ", item.Lost, " ")
		}
	}
	if want := "11 22 lost 3 66 message m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if fmt.Sprint(resumed) != "[ 2 6]" {
		t.Errorf("resumed after %q", resumed)
	}
}

// TestPushIsRefused: an open request is refused; later frames and Close return the reason.
func TestPushIsRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1)
		_, _ = r.Body.Read(buf)
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"type":"about:blank","title":"Forbidden","status":403,"code":"not_publisher","detail":"taken"}`)
	}))
	defer srv.Close()
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Push(context.Background(), "s", "bob")
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = p.Bytes(0, nil)
	}
	for _, err := range []error{err, func() error { _, err := p.Close(); return err }()} {
		var problem *client.Problem
		if !errors.As(err, &problem) || problem.Code != "not_publisher" {
			t.Errorf("it ended by %v", err)
		}
	}
}
