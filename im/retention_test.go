package im_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

const day = 24 * time.Hour

func kept(retention, most time.Duration) im.Policy {
	p := im.DefaultPolicy()
	p.Retention, p.RetentionMax = retention, most
	return p
}

func TestParseRetention(t *testing.T) {
	for text, want := range map[string]string{
		"none": "none", "free": "3d", "basic": "7d", "advanced": "90d", "enterprise": "180d",
		"30": "30d", "30d": "30d", "36h": "36h0m0s", "48h": "2d", "1s": "1s",
		"0": "-", "0d": "-", "-1d": "-", "-1h": "-", "": "-", "d": "-", "Free": "-", "1.5d": "-", "36501d": "-", "99999d": "-", "0s": "-",
	} {
		got := "-"
		if keep, ok := im.ParseRetention(text); ok {
			got = im.FormatRetention(keep)
		}
		if got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// A message past retention is unreadable on every path at once, and the job that trims it
// changes nothing for readers.
func TestPastRetentionNothingIsReadable(t *testing.T) {
	w := newWorldWith(t, kept(7*day, 0))
	id := w.group(im.HistoryAll, "alice", "bob")
	draft := mentioning("bob")
	draft.ClientID = "c-1"
	old := w.send("alice", byID(id), draft)
	w.pass(4 * day)
	young := w.say("alice", byID(id), "young")
	w.equal("unread", w.unread("bob", byID(id)), "2/1")
	w.pass(3*day + time.Millisecond)

	check := func(when string) {
		t.Helper()
		root := im.Actor{User: "root", Admin: true}
		w.equal(when+": history", w.said("bob", byID(id)), []string{"young"})
		_, err := w.Message(w.ctx, as("bob"), old.ID)
		w.equal(when+": message", answer(err), "404 message_not_found")
		w.equal(when+": unread", w.unread("bob", byID(id)), "1/0")
		_, err = w.Revoke(w.ctx, as("alice"), old.ID, im.RevokeNote{})
		w.equal(when+": revoking", answer(err), "404 message_not_found")
		_, err = w.Revoke(w.ctx, root, old.ID, im.RevokeNote{})
		w.equal(when+": revoking as an admin", answer(err), "404 message_not_found")
		_, err = w.PutReceipt(w.ctx, as("bob"), byID(id), im.ReceiptDraft{Kind: im.Delivered, MessageIDs: []string{old.ID.String()}})
		w.equal(when+": a receipt", answer(err), "404 message_not_found")
		answering := text("re")
		answering.ReplyTo = old.ID.String()
		_, err = w.Send(w.ctx, as("bob"), byID(id), answering)
		w.equal(when+": an answer", answer(err), "422 reply_to_not_found")
		window, err := w.Events(w.ctx, as("bob"), 0, 1000, 100)
		w.must(err)
		for _, e := range window.Events {
			if e.MessageID == old.ID {
				t.Errorf("%s: received %+v", when, e)
			}
		}
	}
	check("not trimmed yet")
	again, err := w.Send(w.ctx, as("alice"), byID(id), draft)
	w.must(err)
	if !again.Again || again.Message.State != im.Expired || again.Message.Content != nil {
		t.Errorf("sent again before it is trimmed: %+v", again)
	}

	var trimmed []im.RetentionOf
	dry, err := w.Overdue(w.ctx, im.Actor{User: "root", Admin: true}, time.Time{}, nil, nil, 10)
	w.must(err)
	w.must(w.Trim(w.ctx, time.Time{}, func(of im.RetentionOf) error { trimmed = append(trimmed, of); return nil }))
	w.equal("trimmed", trimmed, dry.Items)
	w.equal("how many", fmt.Sprint(len(trimmed), trimmed[0].Messages), "1 1")
	check("trimmed")

	events := w.committed()
	last := events[len(events)-1]
	w.equal("published", fmt.Sprint(last.Type, last.Conversation, last.FirstSeq, last.Before.Equal(w.now.Add(-7*day))),
		fmt.Sprint(im.ConversationTrimmed, id, young.Seq, true))
	w.must(w.Trim(w.ctx, time.Time{}, func(of im.RetentionOf) error { return fmt.Errorf("again %+v", of) }))
	w.equal("published again", len(w.committed()), len(events))

	_, err = w.Send(w.ctx, as("alice"), byID(id), draft)
	w.equal("sent once it is trimmed", answer(err), "410 message_gone")
	w.pass(7*day + time.Millisecond)
	w.forget(1)
	fresh, err := w.Send(w.ctx, as("alice"), byID(id), draft)
	w.must(err)
	w.equal("sent once it is forgotten", fmt.Sprint(fresh.Again, fresh.Message.Seq), "false 3")
}

func TestRetentionOfAConversation(t *testing.T) {
	forever, short, long := time.Duration(0), day, 30*day
	for name, tt := range map[string]struct {
		policy im.Policy
		own    *time.Duration
		want   string // the answer to setting it
		after  string // days after which a message is unreadable, none for never
	}{
		"the server keeps forever": {kept(0, 0), nil, "ok", "none"},
		"the server's":             {kept(7*day, 0), nil, "ok", "7d"},
		"shorter":                  {kept(7*day, 0), &short, "ok", "1d"},
		"longer":                   {kept(7*day, 0), &long, "ok", "30d"},
		"forever":                  {kept(7*day, 0), &forever, "ok", "none"},
		"shorter than the maximum": {kept(7*day, 40*day), &long, "ok", "30d"},
		"longer than the maximum":  {kept(7*day, 20*day), &long, "422 retention_too_long", "7d"},
		"forever, with a maximum":  {kept(7*day, 20*day), &forever, "422 retention_too_long", "7d"},
		"only a maximum":           {kept(0, 20*day), nil, "ok", "20d"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, tt.policy)
			id := w.group(im.HistoryAll, "alice", "bob")
			m := w.say("alice", byID(id), "hi")
			_, err := w.UpdateConversation(w.ctx, as("alice"), byID(id), im.ConversationPatch{Retention: &tt.own})
			w.equal("setting it", answer(err), tt.want)
			keptFor := "none"
			for range 100 {
				w.pass(day)
				if _, err := w.Message(w.ctx, as("bob"), m.ID); err != nil {
					t.Fatal(err) // at the cutoff it can still be read
				}
				w.pass(time.Millisecond)
				_, err := w.Message(w.ctx, as("bob"), m.ID)
				if err != nil {
					keptFor = im.FormatRetention(w.clock().Sub(epoch).Truncate(day))
					break
				}
				w.pass(-time.Millisecond)
			}
			w.equal("past retention after", keptFor, tt.after)
		})
	}
}

func TestWhoMaySetRetention(t *testing.T) {
	week := 7 * day
	own := &week
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob", "carol")
	_, err := w.SetRole(w.ctx, as("alice"), byID(id), "bob", im.Admin)
	w.must(err)
	w.say("alice", direct("bob"), "hi")
	for name, tt := range map[string]struct {
		user im.UserID
		ref  im.ConversationRef
		want string
	}{
		"admin of a group":                {"bob", byID(id), "403 permission_denied"},
		"member of a group":               {"carol", byID(id), "403 permission_denied"},
		"stranger to a group":             {"mallory", byID(id), "404 conversation_not_found"},
		"owner of a group":                {"alice", byID(id), "ok"},
		"member of a direct conversation": {"bob", direct("alice"), "ok"},
	} {
		_, err := w.UpdateConversation(w.ctx, as(tt.user), tt.ref, im.ConversationPatch{Retention: &own})
		w.equal(name, answer(err), tt.want)
	}
}

// A run as of a time trims exactly what its dry run lists.
func TestDryRunShowsExactlyWhatIsTrimmed(t *testing.T) {
	root := im.Actor{User: "root", Admin: true}
	w := newWorldWith(t, kept(7*day, 0))
	short := day
	own := &short
	var quiet []im.ID
	for i := range 30 {
		id := w.group(im.HistoryAll, "alice")
		if i%3 == 0 {
			_, err := w.UpdateConversation(w.ctx, as("alice"), byID(id), im.ConversationPatch{Retention: &own})
			w.must(err)
		}
		for j := range i % 7 {
			m := w.say("alice", byID(id), "old")
			if j == 2 {
				w.revoke("alice", m.ID)
			}
		}
		w.pass(6 * time.Hour)
		quiet = append(quiet, id)
	}
	asOf := w.clock()
	dry := make(map[im.ID]int64)
	var past *im.RetentionKey
	for {
		page, err := w.Overdue(w.ctx, root, asOf, nil, past, 3)
		w.must(err)
		for _, of := range page.Items {
			dry[of.Conversation] += of.Messages
		}
		if past = page.Next; past == nil {
			break
		}
	}
	w.pass(3 * day) // more is past retention by now
	trimmed := make(map[im.ID]int64)
	w.must(w.Trim(w.ctx, asOf, func(of im.RetentionOf) error { trimmed[of.Conversation] += of.Messages; return nil }))
	w.equal("trimmed", trimmed, dry)
	if len(dry) < 5 {
		t.Errorf("only %d conversations of %d had anything to trim", len(dry), len(quiet))
	}
	none := time.Duration(0)
	kept, err := w.Overdue(w.ctx, root, asOf, &none, nil, 100)
	w.must(err)
	if len(kept.Items) >= len(dry) {
		t.Errorf("with no retention of the server, %d conversations would be trimmed, with it %d", len(kept.Items), len(dry))
	}
	_, err = w.Overdue(w.ctx, root, w.clock().Add(time.Second), nil, nil, 3)
	w.equal("in the future", answer(err), "400 invalid_request")
	_, err = w.Overdue(w.ctx, as("alice"), time.Time{}, nil, nil, 3)
	w.equal("as a user", answer(err), "403 admin_required")
	w.equal("trimming as a user", answer(w.TrimAs(w.ctx, as("alice"), time.Time{}, nil)), "403 admin_required")
}

// Messages past retention stay past it when the retention becomes longer, and a dry run lists them.
func TestLongerRetentionBringsNothingBack(t *testing.T) {
	root := im.Actor{User: "root", Admin: true}
	w := newWorld(t)
	id := w.group(im.HistoryAll, "alice", "bob")
	m := w.say("alice", byID(id), "old")
	w.pass(5 * day)
	w.say("alice", byID(id), "young")
	set := func(keep *time.Duration) {
		t.Helper()
		_, err := w.UpdateConversation(w.ctx, as("alice"), byID(id), im.ConversationPatch{Retention: &keep})
		w.must(err)
	}
	short := day
	set(&short)
	set(nil)
	w.equal("read", w.said("bob", byID(id)), []string{"young"})
	_, err := w.Message(w.ctx, as("bob"), m.ID)
	w.equal("by its id", answer(err), "404 message_not_found")
	w.equal("unread", w.unread("bob", byID(id)), "1/0")
	dry, err := w.Overdue(w.ctx, root, time.Time{}, nil, nil, 10)
	w.must(err)
	var trimmed []im.RetentionOf
	w.must(w.Trim(w.ctx, time.Time{}, func(of im.RetentionOf) error { trimmed = append(trimmed, of); return nil }))
	w.equal("trimmed", trimmed, dry.Items)
	w.equal("how many", len(trimmed), 1)
	w.equal("read", w.said("bob", byID(id)), []string{"young"})
}
