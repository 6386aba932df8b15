package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/client"
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/internal/await"
	"github.com/imapi/imapi/internal/steps"
	"github.com/imapi/imapi/retention"
)

// TestKilledWhileErasing kills the server at random points while it erases 2,000 messages
// that came due at the same moment: each is erased and published once.
func TestKilledWhileErasing(t *testing.T) {
	t.Parallel()
	const (
		count = 2000
		kills = 5
	)
	s := newServer(t)
	m := newMarker()
	direct, group, cursor := fillDue(t, s.data, count, m)

	step := steps.Begin(t)
	step("the subscriber starts")
	ctx, cancel := context.WithCancel(context.Background())
	var (
		mu        sync.Mutex
		received  = make(map[string]int)
		following sync.WaitGroup
	)
	countReceived := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(received)
	}
	bob := s.clientWith(mintFor(t, readSecret(t, s.data), "bob"), "tablet")
	resuming(ctx, t, &following, bob, cursor, func(e client.Event) {
		if e.Type == client.EventTypeMessageBurned || e.Type == client.EventTypeMessageExpired {
			mu.Lock()
			defer mu.Unlock()
			received[*e.MessageID]++
		}
	})
	defer following.Wait()
	defer cancel()

	step("kill the server while it erases")
	s.start()
	var killed []time.Time
	for range kills {
		enough := float64(rand.IntN(300))
		await.Until(t, "messages are erased", func() bool { return s.metric("imapi_messages_erased_total") > enough || countReceived() == count })
		s.kill()
		killed = append(killed, time.Now())
		s.start()
	}
	await.Until(t, "all erasures are received", func() bool { return countReceived() == count })

	step("the log has each erasure once")
	// The log and the subscriber have each erasure once, with its time.
	alice := s.device("alice", "phone")
	logged := make(map[string]int)
	lives := make([]int, kills+1)
	for _, h := range alice.log() {
		if h.Type != "message.burned" && h.Type != "message.expired" {
			continue
		}
		if logged[h.MessageID]++; !h.Message.gone() {
			t.Errorf("received %s with %+v", h.Type, h.Message)
		}
		life := 0
		for life < kills && h.At.After(killed[life]) {
			life++
		}
		lives[life]++
	}
	t.Logf("erased between the kills: %v", lives)
	step("each message is erased and was received once")
	if lives[0] == count {
		t.Error("the first kill came too late to show anything")
	}
	messages := append(alice.history(direct)[1:], alice.history(group)...) // the first message created the conversation
	if len(messages) != count || len(logged) != count {
		t.Errorf("%d messages are left and the log has %d, want %d", len(messages), len(logged), count)
	}
	mu.Lock()
	for i := range messages {
		n := &messages[i]
		if !n.gone() || logged[n.ID] != 1 || received[n.ID] != 1 {
			t.Errorf("%s is %s, received %d times and logged %d times", n.ID, n.State, received[n.ID], logged[n.ID])
		}
	}
	mu.Unlock()
	step("no file has the content")
	(&crawler{t: t, server: s}).inNoFile(m)
	await.Until(t, "all keys are shredded", func() bool { return s.metric("imapi_shredding_waiting") == 0 })
	step("the database is intact")
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	integrity(t, s.data)
}

// neverDue is an eraser that finds nothing to erase.
type neverDue struct{}

// EraseDue implements [retention.Eraser].
func (neverDue) EraseDue(context.Context) (n int, next time.Time, err error) {
	return 0, time.Time{}, nil
}

// fillDue fills a data directory with messages from alice to bob that will soon come due at the
// same moment, in every possible way, and returns the conversations and the previous head of the
// log.
func fillDue(t *testing.T, data string, count int, m marker) (direct, group, cursor string) {
	t.Helper()
	// This node erases nothing, even if they come due before the next one runs.
	n := startPreparedNode(t, func(n *node) { n.timers = retention.NewTimers(n.log, neverDue{}) }, "--data", data)
	defer n.stop()
	inGroup := n.group([]im.UserID{"alice", "bob"})
	inDirect := n.direct("alice", "bob")
	cursor = n.cursor(mintFor(t, n.secret, "bob"))
	due := time.Now().Add(4 * time.Second).UTC().Truncate(time.Millisecond)
	var burning []im.ID
	edit := func(i int, msg *im.Message) {
		text := m.text + strings.Repeat(".", rand.IntN(2000)) + m.text
		content, err := im.Draft{Type: im.Text, Body: fmt.Appendf(nil, `{"text":"%s"}`, text)}.Content(im.DefaultPolicy().MaxMessageBytes)
		if err != nil {
			t.Fatal(err)
		}
		msg.Content = content
		switch i % 3 {
		case 0:
			msg.Conversation, msg.ExpiresAt = inGroup, due
		case 1:
			msg.Burn = &im.Burn{After: time.Hour, UnreadTTL: due.Sub(msg.CreatedAt)}
		case 2:
			msg.Burn = &im.Burn{After: time.Hour, UnreadTTL: time.Hour}
			burning = append(burning, msg.ID)
		}
	}
	n.fill("alice", inDirect, count, edit)
	err := n.store.Write(t.Context(), func(tx im.Tx) error {
		for _, id := range burning {
			if err := tx.StartBurn(id, due); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return inDirect.String(), inGroup.String(), cursor
}

// TestDueWhileDown lets messages come due while no server runs. The next server, with
// stricter flags, erases them at once.
func TestDueWhileDown(t *testing.T) {
	t.Parallel()
	s := newRacedServer(t, "--burn-policy", "any", "--revoke-window", "1h")
	s.start()
	step := steps.Begin(t)
	step("send what comes due, and stop the server")
	alice, bob := s.device("alice", "phone"), s.device("bob", "phone")
	root := device{t: t, server: s, token: s.token("root", "--admin")}
	m := newMarker()
	group := alice.group("bob")
	alice.must(http.MethodPatch, "/v1/conversations/"+group, `{"settings":{"expire_after_seconds":2}}`, nil)
	states := map[string]string{}
	add := func(state string, n note) note { states[n.ID] = state; return n }
	byHand := add("burned", alice.send("@bob", m.text, ""))
	stays := add("active", alice.send("@bob", "stays", ""))
	add("burned", alice.send("@bob", m.text, `,"burn":{"after_seconds":60,"unread_ttl_seconds":2}`))
	read := add("burned", alice.send("@bob", m.text, `,"burn":{"after_seconds":2}`))
	add("expired", alice.send("@bob", m.text, `,"expire_after_seconds":2`))
	add("expired", alice.send(group, m.text, ""))
	bob.must(http.MethodPost, "/v1/messages/"+byHand.ID+"/burn", "", nil)
	bob.must(http.MethodPost, "/v1/conversations/@alice/receipts", `{"kind":"read","message_ids":["`+read.ID+`"]}`, nil)
	// The default applies to messages sent from then on.
	alice.must(http.MethodPatch, "/v1/conversations/"+group, `{"settings":{"expire_after_seconds":null}}`, nil)
	add("active", alice.send(group, "stays", ""))
	due := time.Now().Add(2 * time.Second)
	s.kill()
	<-time.After(time.Until(due))

	step("all is erased as soon as the server is ready")
	s.args = []string{"--burn-policy", "flagged", "--revoke-window", "1ns", "--revoke-others-window", "1ns", "--max-receipt-members", "0"}
	s.start()
	for id, want := range states {
		var n note
		alice.must(http.MethodGet, "/v1/messages/"+id, "", &n)
		if n.State != want || want != "active" && !n.gone() {
			t.Errorf("as soon as the server is ready, %s reads as %+v, want %s", id, n, want)
		}
	}
	step("the list of erasures has all")
	type erasure struct {
		MessageID string `json:"message_id"`
		How       string
		LateMs    int64 `json:"late_ms"`
	}
	var list struct{ Items []erasure }
	await.Until(t, "five messages are erased", func() bool {
		root.must(http.MethodGet, "/v1/admin/erasures", "", &list)
		return len(list.Items) == 5
	})
	for _, e := range list.Items {
		if e.How != states[e.MessageID] || e.MessageID != byHand.ID && (e.LateMs < 0 || e.LateMs > patience.Milliseconds()) {
			t.Errorf("%+v, want %s", e, states[e.MessageID])
		}
	}
	step("no file has the content")
	(&crawler{t: t, server: s}).inNoFile(m)
	await.Until(t, "all keys are shredded", func() bool { return s.metric("imapi_shredding_waiting") == 0 })
	step("the log has each erasure once")
	received := map[string]int{}
	for _, h := range about(alice.log(), "message.burned", "message.expired") {
		received[h.MessageID]++
	}
	for id, state := range states {
		if state != "active" && received[id] != 1 {
			t.Errorf("%s was received %d times", id, received[id])
		}
	}
	// The new server applies its own flags.
	if status, answer := bob.ask(http.MethodPost, "/v1/messages/"+stays.ID+"/burn", ""); status != http.StatusConflict {
		t.Errorf("burning a message that was not sent for burning: %d %s", status, answer)
	}
	if status, answer := alice.ask(http.MethodPost, "/v1/messages/"+stays.ID+"/revoke", ""); status != http.StatusForbidden {
		t.Errorf("revoking out of the window: %d %s", status, answer)
	}
}
