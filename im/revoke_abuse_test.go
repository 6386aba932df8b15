package im_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestNotesAreStoredInCanonicalForm checks that white space, which does not count towards the
// limit, is not stored, either.
func TestNotesAreStoredInCanonicalForm(t *testing.T) {
	w := newWorld(t)
	m := w.say("alice", direct("bob"), "x")
	note := im.RevokeNote{Extension: []byte("{ \"b\" : 1 ,\n" + strings.Repeat(" ", 100_000) + "\"a\":[ 2 ] }")}
	got, err := w.Revoke(w.ctx, as("alice"), m.ID, note)
	w.must(err)
	w.equal("answered", string(got.Erased.Extension), `{"a":[2],"b":1}`)
	kept, err := w.Message(w.ctx, as("bob"), m.ID)
	w.must(err)
	w.equal("kept", string(kept.Erased.Extension), `{"a":[2],"b":1}`)
}

// TestBlockedUsersSayNothingByRevoking checks that a blocked user may revoke, but without a
// postscript or other text.
func TestBlockedUsersSayNothingByRevoking(t *testing.T) {
	w := newWorld(t)
	m := w.say("alice", direct("bob"), "x")
	w.must(w.PutBlock(w.ctx, as("bob"), "alice"))
	got, err := w.Revoke(w.ctx, as("alice"), m.ID, im.RevokeNote{Postscript: "ha", Extension: []byte(`"ha"`), Push: im.Push{Content: "ha"}})
	w.must(err)
	if got.State != im.Revoked || got.Erased.Postscript != "" || got.Erased.Extension != nil {
		t.Errorf("got %+v", got.Erased)
	}
	events := w.committed()
	for _, e := range events {
		if e.Push.Content != "" {
			t.Errorf("pushed %+v", e.Push)
		}
	}
	minute, never := time.Minute, time.Duration(0)
	_, err = w.UpdateConversation(w.ctx, as("alice"), direct("bob"), im.ConversationPatch{ExpireAfter: &minute})
	w.equal("settings that shorten", answer(err), "ok")
	_, err = w.UpdateConversation(w.ctx, as("alice"), direct("bob"), im.ConversationPatch{ExpireAfter: &never})
	w.equal("settings that keep", answer(err), "403 blocked")
	_, err = w.UpdateConversation(w.ctx, as("bob"), direct("alice"), im.ConversationPatch{ExpireAfter: &never})
	w.equal("settings by the blocking user", answer(err), "ok")
}

// TestReadingManyThatBurnAtOnce checks that a receipt for more messages than fit into a transaction
// burns each of them, and is published once.
func TestReadingManyThatBurnAtOnce(t *testing.T) {
	w := newWorld(t)
	const n = 1203
	var last im.Message
	for i := range n {
		d := text("%d", i)
		d.Burn = &im.Burn{UnreadTTL: time.Hour}
		if i%3 == 0 {
			d.Burn.After = time.Minute
		}
		sent, err := w.Send(w.ctx, as("alice"), direct("bob"), d)
		w.must(err)
		last = sent.Message
	}
	before := len(w.committed())
	got, err := w.PutReceipt(w.ctx, as("bob"), direct("alice"), im.ReceiptDraft{Kind: im.Read, UpTo: last.ID.String()})
	w.must(err)
	w.equal("burning", len(got.Burning), n/3)
	w.equal("unread", got.Unread, im.UnreadCount{})
	counts := make(map[im.EventType]int)
	for _, e := range w.committed()[before:] {
		counts[e.Type]++
	}
	w.equal("published", counts, map[im.EventType]int{im.ReceiptRead: 1, im.MessageBurned: n - n/3, im.MessageBurnStarted: n / 3, im.UnreadChanged: 1})
}

// TestDeliveryCoversOnlyItsMessage checks that delivering the third message to a stream does
// not mark the first two as delivered.
func TestDeliveryCoversOnlyItsMessage(t *testing.T) {
	w := newWorld(t)
	var ms []im.Message
	for i := range 3 {
		ms = append(ms, w.say("alice", direct("bob"), fmt.Sprint(i)))
	}
	before := len(w.committed())
	w.must(w.Deliver(w.ctx, []im.Delivery{
		{User: "bob", Conversation: ms[0].Conversation, Range: im.SeqRange{From: 3, To: 3}},
		{User: "stranger", Conversation: ms[0].Conversation, Range: im.SeqRange{From: 1, To: 3}},
	}))
	received := w.committed()[before:]
	if len(received) != 1 || received[0].Type != im.ReceiptDelivered || received[0].To != "alice" || received[0].UpTo != 0 ||
		!slices.Equal(received[0].MessageIDs, []im.ID{ms[2].ID}) {
		t.Errorf("received %+v", received)
	}
	for i, want := range []int{0, 0, 1} {
		r, err := w.Receipts(w.ctx, as("alice"), ms[i].ID)
		w.must(err)
		w.equal(fmt.Sprint("delivered ", i), len(r.Delivered), want)
	}
}

// TestManyDeliveriesAreNamed checks the same for more messages than one event can name.
func TestManyDeliveriesAreNamed(t *testing.T) {
	w := newWorld(t)
	var ms []im.Message
	for i := range 2*im.MaxReceiptIDs + 50 {
		ms = append(ms, w.say("alice", direct("bob"), fmt.Sprint(i)))
	}
	before := len(w.committed())
	const first = 20 // messages sent before the stream began
	last := ms[len(ms)-1]
	w.must(w.Deliver(w.ctx, []im.Delivery{
		{User: "bob", Conversation: last.Conversation, Range: im.SeqRange{From: first + 1, To: last.Seq}},
	}))
	var named []im.ID
	for _, e := range w.committed()[before:] {
		if e.Type != im.ReceiptDelivered || e.UpTo != 0 || len(e.MessageIDs) > im.MaxReceiptIDs {
			t.Errorf("received %+v", e)
		}
		named = append(named, e.MessageIDs...)
	}
	var want []im.ID
	for _, m := range ms[first:] {
		want = append(want, m.ID)
	}
	if !slices.Equal(named, want) {
		t.Errorf("named %d messages, want the %d that were delivered, in order", len(named), len(want))
	}
}

// TestNoReceiptForOwnMessages checks that a receipt for one's own message is not
// published.
func TestNoReceiptForOwnMessages(t *testing.T) {
	w := newWorld(t)
	m := w.say("alice", direct("bob"), "mine")
	before := len(w.committed())
	w.must1(w.PutReceipt(w.ctx, as("alice"), direct("bob"), im.ReceiptDraft{Kind: im.Read, MessageIDs: []string{m.ID.String()}}))
	w.equal("published", w.typesSince(before), "[]")
}
