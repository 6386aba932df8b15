package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imapi/imapi/internal/steps"
)

// TestRevokeIsDeliveredOnce revokes a message on the phone that sent it: the streams of all others
// and of the sender's tablet receive the event once, and the phone does not.
func TestRevokeIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"direct", "group"} {
		t.Run(kind, func(t *testing.T) {
			s := startServer(t)
			phone, tablet, bob := s.device("alice", "phone"), s.device("alice", "tablet"), s.device("bob", "phone")
			carol := s.device("carol", "")
			conversation := bob.send("@alice", "hello", "").ConversationID
			if kind == "group" {
				conversation = phone.group("bob")
			}
			m := newMarker()
			onPhone, onTablet, toBob, toCarol := phone.listen(""), tablet.listen(""), bob.listen(""), carol.listen("")

			sent := phone.send(conversation, m.text, `,"mentions":["bob"]`)
			var tombstone, again note
			const words = `{"postscript":"sorry","extension":{"why":"typo"},"push_content":"taken back","push_payload":{"badge":1}}`
			phone.must(http.MethodPost, "/v1/messages/"+sent.ID+"/revoke", words, &tombstone)
			phone.must(http.MethodPost, "/v1/messages/"+sent.ID+"/revoke", `{"postscript":"other words"}`, &again)
			if !tombstone.gone() || tombstone.State != "revoked" || tombstone.Erased.By != "alice" ||
				!again.gone() || again.Erased.Postscript != "sorry" {
				t.Errorf("answered %+v, again %+v", tombstone, again)
			}
			last := s.device("bob", "tablet").send(conversation, "last", "")

			for who, e := range map[string]*ear{"alice's tablet": onTablet, "bob": toBob} {
				received := e.untilMessage(last.ID)
				revoked := about(received, "message.revoked")
				if len(revoked) != 1 {
					t.Fatalf("%s received %d revokes", who, len(revoked))
				}
				h := revoked[0]
				if h.MessageID != sent.ID || h.Seq != sent.Seq || h.Actor != "alice" || !h.Message.gone() ||
					h.Message.Erased.Postscript != "sorry" || string(h.Message.Erased.Extension) != `{"why":"typo"}` ||
					h.PushContent != "taken back" || string(h.PushPayload) != `{"badge":1}` {
					t.Errorf("%s received %s", who, h.raw)
				}
				if form := m.in([]byte(h.raw)); form != "" {
					t.Errorf("%s received the content, as %s: %s", who, form, h.raw)
				}
				if created := about(received, "message.created"); len(created) != 2 || created[0].MessageID != sent.ID {
					t.Errorf("%s received %d messages", who, len(created))
				}
			}
			received := onPhone.untilMessage(last.ID)
			if acts := about(received, "message.created", "message.revoked"); len(acts) != 1 {
				t.Errorf("the phone received its own events: %+v", acts)
			}
			carol.send("@bob", "fence", "")
			toBob.until(func(h heard) bool { return h.Message != nil && strings.Contains(string(h.Message.Body), "fence") })
			phone.send("@carol", "fence", "")
			if received := toCarol.until(func(h heard) bool { return h.Type == "message.created" }); len(about(received, "message.revoked")) > 0 {
				t.Errorf("a stranger received %+v", received)
			}
		})
	}
}

// TestDeliveredByBeingWritten checks that writing a message to the recipient's stream gives a
// receipt, that the receipts of a busy stream are published together, and that group messages sent
// without receipt have none.
func TestDeliveredByBeingWritten(t *testing.T) {
	t.Parallel()
	const count = 200
	s := startServer(t)
	step := steps.Begin(t)
	step("send while the recipients are away")
	alice := s.device("alice", "phone")
	bob, carol := s.device("bob", "phone"), s.device("carol", "phone")
	direct := alice.send("@bob", "hello", "").ConversationID
	group := alice.group("bob", "carol")
	before := bob.cursor()
	missed := alice.send(direct, "missed", "")
	erased := alice.send(direct, "erased", "")
	alice.must(http.MethodPost, "/v1/messages/"+erased.ID+"/revoke", "", nil)

	type receipts struct {
		Read, Delivered []struct{ User string }
		Unread          []string
		ReadCount       int `json:"read_count"`
		UnreadCount     int `json:"unread_count"`
	}
	toAlice := alice.listen("")
	delivered := func(last func(heard) bool) []heard {
		return about(toAlice.until(func(h heard) bool { return h.Type == "receipt.delivered" && last(h) }), "receipt.delivered")
	}

	step("a message received on resuming is delivered, a tombstone is not")
	bob.listen(before)
	carol.listen("")
	if received := delivered(func(heard) bool { return true }); !received[0].isFor(missed.ID) || received[0].isFor(erased.ID) || received[0].User != "bob" {
		t.Errorf("received after being away: %s", received[0].raw)
	}

	step("a message to an open stream is delivered")
	began := time.Now()
	one := alice.send(direct, "one", "")
	delivered(func(h heard) bool { return h.isFor(one.ID) })
	t.Logf("delivery published %v after the send", time.Since(began).Round(time.Millisecond))
	var got receipts
	alice.must(http.MethodGet, "/v1/messages/"+one.ID+"/receipts", "", &got)
	if len(got.Delivered) != 1 || got.Delivered[0].User != "bob" || len(got.Read) != 0 || !slices.Equal(got.Unread, []string{"bob"}) {
		t.Errorf("receipts are %+v", got)
	}
	if status, answer := bob.ask(http.MethodGet, "/v1/messages/"+one.ID+"/receipts", ""); status != http.StatusForbidden {
		t.Errorf("the recipient was answered %d %s", status, answer)
	}

	// sendAll sends many messages, and returns their ids and the number of events about receipts of
	// one user that they may have caused by now.
	sendAll := func(conversation, more string) (ids []string, allowed func() int) {
		began := time.Now()
		for i := range count {
			ids = append(ids, alice.send(conversation, fmt.Sprint("message ", i), more).ID)
		}
		return ids, func() int { return int(time.Since(began)/(500*time.Millisecond)) + 2 }
	}

	step("many direct messages take few receipts")
	ids, allowed := sendAll(direct, "")
	received := delivered(func(h heard) bool { return h.isFor(ids[count-1]) })
	if most := allowed(); len(received) > most {
		t.Errorf("%d direct messages to an open stream took %d events, want at most %d", count, len(received), most)
	}

	step("many group messages with receipts take few receipts")
	ids, allowed = sendAll(group, `,"receipt":true`)
	has := map[string][]string{}
	received = delivered(func(h heard) bool {
		has[h.User] = append(has[h.User], h.MessageIDs...)
		return len(has["bob"]) >= count && len(has["carol"]) >= count
	})
	if most := 2 * allowed(); len(received) > most {
		t.Errorf("%d group messages to two open streams took %d events, want at most %d", count, len(received), most)
	}
	for user, got := range has {
		if !slices.Equal(got, ids) {
			t.Errorf("%s has %d messages of %d, or not in order", user, len(got), count)
		}
	}
	got = receipts{}
	alice.must(http.MethodGet, "/v1/messages/"+ids[0]+"/receipts", "", &got)
	if len(got.Delivered) != 2 || got.ReadCount != 0 || got.UnreadCount != 2 {
		t.Errorf("receipts in the group are %+v", got)
	}

	step("group messages without receipts take none")
	sendAll(group, "")
	asked := alice.send(group, "asked", `,"receipt":true`)
	has = map[string][]string{}
	delivered(func(h heard) bool { has[h.User] = append(has[h.User], h.MessageIDs...); return len(has) == 2 })
	for user, got := range has {
		if !slices.Equal(got, []string{asked.ID}) {
			t.Errorf("%s gave receipts for %v, want only for %s", user, got, asked.ID)
		}
	}
}

// TestReadUpTo reads many messages with one receipt, which the sender and the reader's
// other device receive once.
func TestReadUpTo(t *testing.T) {
	t.Parallel()
	const count, burning = 300, 10
	s := startServer(t)
	step := steps.Begin(t)
	step("send")
	alice := s.device("alice", "phone")
	phone, tablet := s.device("bob", "phone"), s.device("bob", "tablet")
	var last note
	var burn []string
	for i := range count {
		more := ""
		if i%(count/burning) == 0 {
			more = `,"burn":{"after_seconds":600}`
		}
		last = alice.send("@bob", fmt.Sprint("message ", i), more)
		if more != "" {
			burn = append(burn, last.ID)
		}
	}
	toAlice, onPhone, onTablet := alice.listen(""), phone.listen(""), tablet.listen("")

	step("read twice")
	type answer struct {
		Unread     int
		UnreadMore bool `json:"unread_more"`
		Burning    []struct {
			MessageID string    `json:"message_id"`
			BurnAt    time.Time `json:"burn_at"`
		}
	}
	read := func() (a answer) {
		phone.must(http.MethodPost, "/v1/conversations/@alice/receipts", `{"kind":"read","up_to":"`+last.ID+`"}`, &a)
		return a
	}
	first, second := read(), read()
	var ids []string
	for _, b := range first.Burning {
		ids = append(ids, b.MessageID)
		if left := time.Until(b.BurnAt); left < 500*time.Second || left > 600*time.Second {
			t.Errorf("%s burns in %v", b.MessageID, left)
		}
	}
	if first.Unread != 0 || first.UnreadMore || !slices.Equal(ids, burn) {
		t.Errorf("answered %+v", first)
	}
	if diff := cmp.Diff(first.Burning, second.Burning); diff != "" {
		t.Errorf("the same receipt again answers otherwise (-first +second):\n%s", diff)
	}

	step("the reader's devices receive it")
	fence := alice.send("@bob", "fence", "")
	for who, e := range map[string]*ear{"the reader's other device": onTablet, "the acting device": onPhone} {
		received := e.untilMessage(fence.ID)
		want, wantStarted := 1, burning
		if e == onPhone {
			want, wantStarted = 0, 0
		}
		if reads, started := about(received, "receipt.read"), about(received, "message.burn_started"); len(reads) != want || len(started) != wantStarted {
			t.Errorf("%s received %d reads and %d fires, want %d and %d", who, len(reads), len(started), want, wantStarted)
		}
	}
	step("the sender receives it")
	// The sending device does not receive the fence itself but, after everything else, the receipt
	// for it.
	received := toAlice.until(func(h heard) bool { return h.Type == "receipt.delivered" && h.isFor(fence.ID) })
	reads, started := about(received, "receipt.read"), about(received, "message.burn_started")
	if len(reads) != 1 || reads[0].UpTo != last.ID || reads[0].User != "bob" || len(started) != burning {
		t.Errorf("the sender received %d reads, %+v, and %d fires", len(reads), reads, len(started))
	}
}

// TestElevenRevokedThenATwelfth sends eleven messages to a user who is offline, revokes them all
// and sends another: the resumed stream delivers all events, but no content of the eleven.
func TestElevenRevokedThenATwelfth(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	alice, bob := s.device("alice", "phone"), s.device("bob", "phone")
	alice.send("@bob", "hello", "")
	cursor := bob.cursor()
	m := newMarker()
	type step struct{ typ, id string }
	var want []step
	var ids []string
	for range 11 {
		sent := alice.send("@bob", m.text, "")
		ids = append(ids, sent.ID)
		want = append(want, step{"message.created", sent.ID})
	}
	for _, id := range ids {
		alice.must(http.MethodPost, "/v1/messages/"+id+"/revoke", "", nil)
		want = append(want, step{"message.revoked", id})
	}
	twelfth := alice.send("@bob", "here it is", "")
	want = append(want, step{"message.created", twelfth.ID})

	received := bob.listen(cursor).untilMessage(twelfth.ID)
	var got []step
	for _, h := range received {
		got = append(got, step{h.Type, h.MessageID})
		if form := m.in([]byte(h.raw)); form != "" {
			t.Errorf("received the content as %s: %s", form, h.raw)
		}
		if h.MessageID != twelfth.ID && (!h.Message.gone() || h.Message.State != "revoked") {
			t.Errorf("received %s", h.raw)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
	if text := string(received[len(received)-1].Message.Body); text != `{"text":"here it is"}` {
		t.Errorf("the twelfth is %s", text)
	}
}
