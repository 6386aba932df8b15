package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/steps"
)

// TestSubscriberThatDisconnectsOften disconnects and resumes at random while four senders write
// to three conversations, and receives every event once, in order. Another subscriber, which reads
// one byte per second, slows nobody down.
func TestSubscriberThatDisconnectsOften(t *testing.T) {
	t.Parallel()
	const (
		senders  = 4
		messages = 150 // of each sender
	)
	s := startServer(t)
	step := steps.Begin(t)
	step("make groups")
	names := []string{"s0", "s1", "s2", "s3"}
	clients := make([]*client.Client, senders)
	for i, name := range names {
		clients[i] = s.client(name, "phone")
	}
	var groups []string
	for range 3 {
		groups = append(groups, s.group(clients[0], append(names[1:], "bob", "snail")...))
	}
	crawl(t, s)

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	bob := s.client("bob", "tablet")
	start, err := bob.GetEventsWithResponse(ctx, &client.GetEventsParams{}, acceptJSON)
	if err != nil {
		t.Fatal(err)
	}

	step("send, while the subscriber disconnects again and again")
	var sending sync.WaitGroup
	for n, c := range clients {
		sending.Go(func() {
			for i := range messages {
				conversation := groups[rand.IntN(len(groups))]
				if _, err := say(ctx, c, conversation, "", fmt.Sprintf("%d-%d", n, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}

	// Each of bob's connections lasts for a random number of events.
	var received []client.Event
	cursor := start.JSON200.Cursor
	connections := 0
	for len(received) < senders*messages && ctx.Err() == nil {
		connections++
		left := 1 + rand.IntN(20)
		for e, err := range bob.Events(ctx, client.EventsOptions{Cursor: cursor}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == client.EventTypeReady {
				continue
			}
			received, cursor = append(received, e), e.ID
			if left--; left == 0 || len(received) == senders*messages {
				break
			}
		}
	}
	sending.Wait()
	t.Logf("%d events over %d connections", len(received), connections)

	step("each message was received once and in order")
	next := make(map[string]int64)
	for _, e := range received {
		if e.Type != client.EventTypeMessageCreated {
			t.Errorf("received %s", e.Type)
			continue
		}
		next[*e.ConversationID]++
		if *e.Seq != next[*e.ConversationID] {
			t.Errorf("received seq %d of %s, want %d", *e.Seq, *e.ConversationID, next[*e.ConversationID])
		}
	}
	step("the log has the same events")
	all := eventLog(t, bob)
	all = all[len(all)-len(received):]
	if !slices.EqualFunc(received, all, func(a, b client.Event) bool { return a.ID == b.ID }) {
		t.Error("the streams delivered other events than the log, or in another order")
	}
}

// crawl opens a stream and reads one byte of it per second.
func crawl(t *testing.T, s *server) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(1024)
	_, err = fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", s.token("snail"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for range second.C {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
}

// TestEventsReachTheMembersAtTheTime checks that an event is delivered to those who were
// members when it happened: live, on resuming, and on replay.
func TestEventsReachTheMembersAtTheTime(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	step := steps.Begin(t)
	step("bob joins and leaves while alice sends")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	alice, bob, carol := s.client("alice", "phone"), s.client("bob", ""), s.client("carol", "")
	live := follow(ctx, t, bob)
	group := s.group(alice, "carol")

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	text := func(text string) { _, err := say(ctx, alice, group, "", text); must(err) }
	add := func() {
		_, err := alice.AddMembersWithResponse(ctx, group, &client.AddMembersParams{}, client.AddMembers{Members: []string{"bob"}})
		must(err)
	}
	text("before")
	add()
	text("first stay")
	_, err := alice.RemoveMemberWithResponse(ctx, group, "bob", &client.RemoveMemberParams{})
	must(err)
	text("away")
	add()
	text("second stay")
	_, err = bob.LeaveConversationWithResponse(ctx, group, &client.LeaveConversationParams{})
	must(err)
	text("after")
	_, err = say(ctx, carol, "@bob", "", "the end")
	must(err)

	want := []client.EventType{
		client.EventTypeMemberAdded, client.EventTypeMessageCreated, client.EventTypeMemberRemoved,
		client.EventTypeMemberAdded, client.EventTypeMessageCreated, client.EventTypeMemberRemoved,
		client.EventTypeConversationCreated, client.EventTypeMessageCreated,
	}
	step("what bob receives live")
	var got, texts []string
	for range want {
		e := <-live
		got = append(got, string(e.Type))
		if e.Message != nil {
			texts = append(texts, string(e.Message.Body))
		}
	}
	for i, w := range want {
		if got[i] != string(w) {
			t.Fatalf("received live %v, want %v", got, want)
		}
	}
	if wantTexts := []string{`{"text":"first stay"}`, `{"text":"second stay"}`, `{"text":"the end"}`}; !slices.Equal(texts, wantTexts) {
		t.Errorf("received live %v, want %v", texts, wantTexts)
	}
	step("what is replayed to bob")
	var replayed []string
	for _, e := range eventLog(t, bob) {
		replayed = append(replayed, string(e.Type))
		if e.Message != nil && *e.ConversationID == group {
			t.Errorf("replayed the content of a conversation that bob has left: %s", e.Message.Body)
		}
	}
	if !slices.Equal(replayed, got) {
		t.Errorf("replayed %v, received live %v", replayed, got)
	}
}

// follow returns the events that a client receives from now on, without ready.
func follow(ctx context.Context, t *testing.T, c *client.Client) <-chan client.Event {
	t.Helper()
	received := make(chan client.Event, 1024)
	ready := make(chan struct{})
	var done sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	done.Go(func() {
		once := sync.OnceFunc(func() { close(ready) })
		for e, err := range c.Events(ctx, client.EventsOptions{}) {
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			if e.Type == client.EventTypeReady {
				once()
				continue
			}
			received <- e
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the stream did not open")
	}
	return received
}

// TestThousandStreams opens a stream for each of 1,000 members of a group and sends one
// message, which all receive.
func TestThousandStreams(t *testing.T) {
	t.Parallel()
	const n = 1000
	s := startServer(t)
	step := steps.Begin(t)
	step("open the streams")
	alice := s.client("alice", "phone")
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("user-%d", i)
	}
	group := s.group(alice, names...)
	secret := readSecret(t, s.data)

	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	defer transport.CloseIdleConnections()
	received := make(chan string, n)
	var ready, ended sync.WaitGroup
	ready.Add(n)
	follow, stop := context.WithCancel(ctx)
	for _, name := range names {
		c, err := client.New("http://"+s.addr, client.Options{
			Token: client.StaticToken(mintFor(t, secret, name)), HTTPClient: &http.Client{Transport: transport},
		})
		if err != nil {
			t.Fatal(err)
		}
		ended.Go(func() {
			once := sync.OnceFunc(ready.Done)
			for e, err := range c.Events(follow, client.EventsOptions{}) {
				switch {
				case err != nil:
					if follow.Err() == nil {
						t.Error(err)
					}
					return
				case e.Type == client.EventTypeReady:
					once()
				case e.Type == client.EventTypeMessageCreated:
					received <- *e.MessageID
				}
			}
		})
	}
	ready.Wait()
	step("send to all")
	began := time.Now()
	m, err := say(ctx, alice, group, "", "to all")
	if err != nil {
		t.Fatal(err)
	}
	answered := time.Since(began)
	for range n {
		select {
		case id := <-received:
			if id != m.ID {
				t.Errorf("received %s", id)
			}
		case <-ctx.Done():
			t.Fatal("not all have received it")
		}
	}
	t.Logf("answered after %v, all %d received it after %v", answered, n, time.Since(began))
	step("nobody receives it twice")
	stop()
	ended.Wait()
	if len(received) > 0 {
		t.Errorf("%d received it twice", len(received))
	}
}
