package im_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestReceiptsCountTheMembersAtSending checks whose receipts count in a group.
func TestReceiptsCountTheMembersAtSending(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryAll, "owner", "bob", "carol", "dave")
	d := text("did you get this?")
	d.Receipt = true
	sent, err := w.Send(w.ctx, as("owner"), byID(id), d)
	w.must(err)
	plain := w.say("owner", byID(id), "no matter")
	w.add(id, "owner", im.Member, "late")
	w.remove(id, "owner", "dave")

	list := func(rs []im.Receipt) string {
		var out []im.UserID
		for _, r := range rs {
			out = append(out, r.User)
		}
		slices.Sort(out)
		return fmt.Sprint(out)
	}
	get := func() im.Receipts {
		t.Helper()
		r, err := w.Receipts(w.ctx, as("owner"), sent.Message.ID)
		w.must(err)
		return r
	}
	r := get()
	w.equal("at first", list(r.Read)+list(r.Delivered)+fmt.Sprint(r.Unread), "[][][bob carol dave]")

	before := len(w.committed())
	for _, user := range []im.UserID{"carol", "late"} {
		w.must1(w.PutReceipt(w.ctx, as(user), byID(id), im.ReceiptDraft{Kind: im.Delivered, UpTo: plain.ID.String()}))
	}
	w.must1(w.PutReceipt(w.ctx, as("bob"), byID(id), im.ReceiptDraft{Kind: im.Read, UpTo: plain.ID.String()}))
	r = get()
	w.equal("in the end", list(r.Read)+list(r.Delivered)+fmt.Sprint(r.Unread), "[bob][bob carol][carol dave]")
	for _, e := range w.committed()[before:] {
		if e.Type == im.UnreadChanged && e.To == "bob" {
			continue // bob's unread count is private to him
		}
		if e.To != "owner" || !slices.Equal(e.MessageIDs, []im.ID{sent.Message.ID}) {
			t.Errorf("received %+v", e)
		}
	}
	for user, want := range map[im.UserID]string{
		"bob": "403 not_sender", "stranger": "404 message_not_found", "dave": "404 message_not_found",
	} {
		_, err := w.Receipts(w.ctx, as(user), sent.Message.ID)
		w.equal("asked by "+string(user), answer(err), want)
	}
	_, err = w.Receipts(w.ctx, as("owner"), plain.ID)
	w.equal("of a message without receipt", answer(err), "422 receipt_not_asked")
}

// TestReadUpToIsOneTransaction reads many messages with one receipt, which makes some of them burn.
func TestReadUpToIsOneTransaction(t *testing.T) {
	const count, burning = 300, 10
	w := newWorld(t)
	var last im.Message
	for i := range count {
		d := text("message %d", i)
		if i%(count/burning) == 0 {
			d.Burn = &im.Burn{After: 10 * time.Minute, UnreadTTL: time.Hour}
		}
		last = w.send("alice", direct("bob"), d)
	}
	s := &counting{Store: w.store}
	service := im.NewService(s, im.DefaultPolicy(), w.clock)
	result, err := service.PutReceipt(w.ctx, as("bob"), direct("alice"), im.ReceiptDraft{Kind: im.Read, UpTo: last.ID.String()})
	w.must(err)
	if n := s.writes.Load(); n != 1 || len(result.Burning) != burning || result.Unread.Messages != 0 {
		t.Errorf("%d transactions, %d messages burn, %d are unread", n, len(result.Burning), result.Unread.Messages)
	}
}

func TestReceiptsAreRefused(t *testing.T) {
	p := im.DefaultPolicy()
	p.MaxReceiptMembers = 2
	w := newWorldWith(t, p)
	mine := w.say("alice", direct("bob"), "hi")
	other := w.say("alice", direct("carol"), "hi")
	for name, test := range map[string]struct {
		user  im.UserID
		ref   im.ConversationRef
		draft im.ReceiptDraft
		want  string
	}{
		"from a stranger":                 {"stranger", byID(mine.Conversation), im.ReceiptDraft{Kind: im.Read, UpTo: mine.ID.String()}, "404 conversation_not_found"},
		"up to a message elsewhere":       {"bob", direct("alice"), im.ReceiptDraft{Kind: im.Read, UpTo: other.ID.String()}, "404 message_not_found"},
		"up to no message":                {"bob", direct("alice"), im.ReceiptDraft{Kind: im.Read, UpTo: "x"}, "404 message_not_found"},
		"for a message and an invalid id": {"bob", direct("alice"), im.ReceiptDraft{Kind: im.Read, MessageIDs: []string{mine.ID.String(), "x"}}, "404 message_not_found"},
		"for too many messages":           {"bob", direct("alice"), im.ReceiptDraft{Kind: im.Read, MessageIDs: make([]string, 201)}, "400 invalid_request"},
		"for a message":                   {"bob", direct("alice"), im.ReceiptDraft{Kind: im.Read, MessageIDs: []string{mine.ID.String()}}, "ok"},
	} {
		_, err := w.PutReceipt(w.ctx, as(test.user), test.ref, test.draft)
		w.equal(name, answer(err), test.want)
	}
	d := text("to many")
	d.Receipt = true
	_, err := w.Send(w.ctx, as("owner"), byID(w.group(im.HistoryAll, "owner", "a", "b")), d)
	w.equal("with receipt to three of at most two", answer(err), "422 too_many_for_receipts")
}

// TestOneWinner revokes, burns, reads and expires a message at the same instant, many
// times.
func TestOneWinner(t *testing.T) {
	w := newWorld(t)
	for round := range 40 {
		d := text("round %d", round)
		d.Burn = &im.Burn{UnreadTTL: time.Hour}
		d.ExpireAfter = time.Second
		sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		w.must(err)
		if round%2 == 0 {
			w.pass(time.Second) // in half of the rounds the timer takes part, and wins
		}
		before := len(w.committed())
		var (
			race    sync.WaitGroup
			answers [6]string
		)
		for i, do := range []func() error{
			func() error { _, err := w.Revoke(w.ctx, as("alice"), sent.Message.ID, im.RevokeNote{}); return err },
			func() error {
				_, err := w.Revoke(w.ctx, on("alice", "b"), sent.Message.ID, im.RevokeNote{})
				return err
			},
			func() error { _, err := w.Burn(w.ctx, as("bob"), sent.Message.ID); return err },
			func() error {
				_, err := w.PutReceipt(w.ctx, as("bob"), direct("alice"), im.ReceiptDraft{Kind: im.Read, UpTo: sent.Message.ID.String()})
				return err
			},
			func() error { _, _, err := w.EraseDue(w.ctx); return err },
			func() error { _, err := w.Burn(w.ctx, on("bob", "b"), sent.Message.ID); return err },
		} {
			race.Go(func() { answers[i] = answer(do()) })
		}
		race.Wait()
		if round%2 == 0 {
			w.mustEraseDue()
		}
		m, err := w.Message(w.ctx, as("bob"), sent.Message.ID)
		w.must(err)
		var erased []im.EventType
		for _, e := range w.committed()[before:] {
			if e.Type.Erases() {
				erased = append(erased, e.Type)
			}
		}
		if len(erased) != 1 || string(erased[0]) != "message."+m.State.String() || m.State == im.Active {
			t.Fatalf("round %d: it is %s, received %v; answers %v", round, m.State, erased, answers)
		}
		for i, got := range answers {
			if got != "ok" && got != "409 already_"+m.State.String() {
				t.Errorf("round %d: request %d was answered %s, the message is %s", round, i, got, m.State)
			}
		}
	}
}

// TestOfflineDuringSendAndRevoke resumes the stream of a user who was offline when a message was
// sent and revoked: it delivers the events, without content.
func TestOfflineDuringSendAndRevoke(t *testing.T) {
	w := newWorld(t)
	w.say("alice", direct("bob"), "hello")
	away := w.committed()[len(w.committed())-1].Position
	var ids []string
	for i := range 11 {
		ids = append(ids, w.say("alice", direct("bob"), fmt.Sprintf("secret %d", i)).ID.String())
	}
	results, err := w.RevokeMany(w.ctx, as("alice"), append(ids, "nonsense"), im.RevokeNote{Postscript: "sorry"})
	w.must(err)
	for i, r := range results {
		want := "ok"
		if i == 11 {
			want = "404 message_not_found"
		}
		w.equal(r.ID, answer(r.Err), want)
	}
	w.say("alice", direct("bob"), "the twelfth")

	events := w.replay(as("bob"), away, 5)
	w.equal("events", len(events), 11+11+1)
	for i, e := range events {
		switch {
		case e.Message == nil:
			t.Errorf("event %d, %s, has no message", i, e.Type)
		case i < 22 && (e.Message.Content != nil || e.Message.Erased.Postscript != "sorry"):
			t.Errorf("event %d, %s, shows %+v", i, e.Type, e.Message)
		case i == 22 && words(*e.Message) != "the twelfth":
			t.Errorf("the last shows %+v", e.Message)
		}
	}
	page, err := w.Erased(w.ctx, as("bob"), im.ErasureQuery{Limit: 100})
	w.must(err)
	w.equal("findable", len(page.Items), 11)
	for _, user := range []im.UserID{"stranger", "carol"} {
		page, err := w.Erased(w.ctx, as(user), im.ErasureQuery{Limit: 100})
		w.must(err)
		w.equal("for "+string(user), len(page.Items), 0)
	}
}

// TestErasuresReachThoseWhoCouldSee checks that a user who joined later does not receive erasures
// of messages that they could never read.
func TestErasuresReachThoseWhoCouldSee(t *testing.T) {
	w := newWorld(t)
	id := w.group(im.HistoryJoined, "owner", "early", "former")
	m := w.say("owner", byID(id), "before")
	w.add(id, "owner", im.Member, "late")
	w.must1(w.Revoke(w.ctx, as("owner"), m.ID, im.RevokeNote{}))
	w.remove(id, "owner", "former")
	for user, want := range map[im.UserID]bool{"early": true, "late": false, "former": true, "stranger": false} {
		received := slices.ContainsFunc(w.replay(as(user), 0, 100), func(e im.Event) bool {
			if e.Message != nil && e.Message.Content != nil {
				t.Errorf("%s is shown %+v", user, e.Message)
			}
			return e.Type == im.MessageRevoked
		})
		w.equal(string(user), received, want)
	}
}

// TestRepeatedSendOfErasedMessage checks that any repetition returns the tombstone.
func TestRepeatedSendOfErasedMessage(t *testing.T) {
	w := newWorld(t)
	d := text("first")
	d.ClientID = "c"
	sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
	w.must(err)
	w.must1(w.Revoke(w.ctx, as("alice"), sent.Message.ID, im.RevokeNote{}))
	for _, words := range []string{"first", "another"} {
		d := text("%s", words)
		d.ClientID = "c"
		again, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		w.must(err)
		if !again.Again || again.Message.ID != sent.Message.ID || again.Message.State != im.Revoked || again.Message.Content != nil {
			t.Errorf("%s: %+v", words, again)
		}
	}
}
