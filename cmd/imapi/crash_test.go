package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/internal/testsize"
)

// TestKilledUnderLoad kills the server at random points while senders write. Every answered
// send is stored once, its event is in the log once and was delivered once to a subscriber
// that resumed, and the database is intact.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const senders = 4
	kills := testsize.Pick(20, 5)
	s := newRacedServer(t)
	s.start()
	step := steps.Begin(t)
	step("the subscriber starts")
	alice := s.client("alice", "phone")
	group := s.group(alice, "bob")

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()

	received := make(chan client.Event, 1<<16)
	follow, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	bob := s.client("bob", "tablet")
	var following sync.WaitGroup
	<-resuming(follow, t, &following, bob, "", func(e client.Event) { received <- e })

	step("send, and kill the server")
	sent := &answeredSends{answered: make(map[string]client.Message), enough: make(chan struct{})}
	stopSending := sync.OnceFunc(func() { close(sent.enough) })
	// Stop them even when the test fails, because none may log after its end.
	defer func() {
		stopSending()
		cancel()
		sent.sending.Wait()
		following.Wait()
	}()
	for n := range senders {
		sent.keepSending(ctx, t, s.client("alice", fmt.Sprintf("sender-%d", n)), group, fmt.Sprintf("s%d", n))
	}
	for range kills {
		// Choose a random moment under load: after some answers, and a little later.
		until := sent.count() + 1 + rand.IntN(40)
		await.Until(t, "enough sends are answered", func() bool { return sent.count() >= until || t.Failed() })
		s.kill()
		s.start()
	}
	step("every answered message is stored once")
	stopSending()
	sent.sending.Wait()
	answered := sent.answered
	byClientID := make(map[string]client.Message)
	for i, m := range history(t, bob, group) {
		if m.Seq != int64(i+1) {
			t.Fatalf("message %d has seq %d", i+1, m.Seq)
		}
		if _, twice := byClientID[*m.ClientID]; twice {
			t.Errorf("%s is there twice", *m.ClientID)
		}
		byClientID[*m.ClientID] = m
	}
	for id, m := range answered {
		if kept, ok := byClientID[id]; !ok || kept.ID != m.ID || kept.Seq != m.Seq || string(kept.Body) != string(m.Body) {
			t.Errorf("%s was answered as %+v and is stored as %+v", id, m, kept)
		}
	}
	t.Logf("%d kills, %d answered, %d kept", kills, len(answered), len(byClientID))

	step("every message is in the log once")
	logged := messageIDs(eventLog(t, bob))
	for id, m := range byClientID {
		if logged[m.ID] != 1 {
			t.Errorf("the event of %s is in the log %d times", id, logged[m.ID])
		}
	}

	step("the subscriber has received every message once")
	// The subscriber has received everything, or soon will.
	receivedOf := make(map[string]int)
	last := int64(0)
	for len(receivedOf) < len(byClientID) {
		select {
		case e := <-received:
			if e.Type != client.EventTypeMessageCreated {
				continue
			}
			receivedOf[*e.MessageID]++
			if *e.Seq != last+1 {
				t.Errorf("received seq %d after %d", *e.Seq, last)
			}
			last = *e.Seq
		case <-time.After(patience):
			t.Fatalf("the subscriber received %d messages of %d", len(receivedOf), len(byClientID))
		}
	}
	stopFollowing()
	following.Wait()
	close(received)
	for e := range received {
		t.Errorf("received %s once too often", e.ID)
	}

	step("the database is intact")
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	integrity(t, s.data)
}

// answeredSends are the messages of senders that repeat each with its client_id until it is answered.
type answeredSends struct {
	enough  chan struct{} // closed when no sender may begin another message
	sending sync.WaitGroup

	mu       sync.Mutex
	answered map[string]client.Message // by client_id
}

// keepSending sends one message after another until there are enough. Their client_ids begin with a
// name.
func (a *answeredSends) keepSending(ctx context.Context, t *testing.T, c *client.Client, group, name string) {
	a.sending.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-a.enough:
				return
			default:
			}
			id := fmt.Sprintf("%s-%d", name, i)
			m, err := sayUntilAnswered(ctx, c, group, id, "text of "+id)
			if err != nil {
				t.Errorf("%s: %v", id, err)
				return
			}
			a.mu.Lock()
			a.answered[id] = *m
			a.mu.Unlock()
		}
	})
}

func (a *answeredSends) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.answered)
}

// messageIDs counts the message.created events of each message.
func messageIDs(events []client.Event) map[string]int {
	n := make(map[string]int)
	for _, e := range events {
		if e.Type == client.EventTypeMessageCreated {
			n[*e.MessageID]++
		}
	}
	return n
}

func integrity(t *testing.T, data string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(data, "imapi.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for pragma, want := range map[string]string{"integrity_check": "ok", "foreign_key_check": ""} {
		var got string
		if err := db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil && err != sql.ErrNoRows {
			t.Errorf("%s: %v", pragma, err)
		} else if got != want {
			t.Errorf("%s: %s", pragma, got)
		}
	}
}
