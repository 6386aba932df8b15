package client_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/imapi/imapi/client"
)

func TestCommand(t *testing.T) {
	f := newFake(t,
		reply(http.StatusAccepted, "application/json", `{"id":"38h67h4m2k0v1","at":"2026-11-29T07:36:56.120Z"}`),
		refuse(http.StatusTooManyRequests, "rate_limited", "Retry-After", "1"),
		reply(http.StatusOK, "application/json", `{}`),
		unreachable,
	)
	c := f.client(client.Options{Token: client.StaticToken("t")})
	send := func() (client.AcceptedCommand, error) {
		return c.Command(t.Context(), "@bob", client.SendCommand{Body: client.CommandBody{Action: "typing"}, To: []client.UserID{"bob"}})
	}
	accepted, err := send()
	if err != nil || accepted.ID != "38h67h4m2k0v1" || accepted.At.IsZero() {
		t.Errorf("accepted %+v, %v", accepted, err)
	}
	if got, want := string(f.asked()[0].content), `{"body":{"action":"typing"},"to":["bob"],"type":"command"}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	_, err = send()
	if problem, ok := errors.AsType[*client.Problem](err); !ok || problem.Code != "rate_limited" {
		t.Errorf("refused: %v", err)
	}
	if _, err = send(); err == nil {
		t.Error("another status is no error")
	}
	if _, err = send(); !errors.Is(err, errRefused) {
		t.Errorf("unreachable: %v", err)
	}
	if n := len(f.asked()); n != 4 {
		t.Errorf("%d attempts, want one each", n)
	}
}

// Every command is yielded and does not move the cursor, even if its block begins with a heartbeat
// whose cursor was seen before.
func TestEventsYieldsCommands(t *testing.T) {
	const command = "event: command\ndata: {\"type\":\"command\",\"at\":\"2026-11-29T07:36:56.120Z\",\"action\":\"typing\"}\n\n"
	f := newFake(t,
		streams("id: A\nevent: message.created\ndata: {\"id\":\"A\",\"type\":\"message.created\",\"at\":\"2026-11-29T07:36:56.120Z\"}\n\n"+
			command+":\nid: A\n"+command+":\nid: B\n"+command+command),
		unreachable, unreachable,
	)
	c := f.client(client.Options{Token: client.StaticToken("t")})
	var moved []string
	got, err := follow(t.Context(), c, client.EventsOptions{OnCursor: func(c string) { moved = append(moved, c) }}, 5)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "events", got, []string{"A message.created", " command", " command", " command", " command"})
	want(t, "cursors", moved, []string{"A", "B"})
}
