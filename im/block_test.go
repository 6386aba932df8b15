package im_test

import (
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestWhatABlockStops checks each row of the table in docs/permissions.md. alice has blocked
// bob.
func TestWhatABlockStops(t *testing.T) {
	day := 24 * time.Hour
	ref := direct("alice")
	keep := func(d time.Duration) im.ConversationPatch {
		to := &d
		return im.ConversationPatch{Retention: &to}
	}
	byServer := (*time.Duration)(nil)
	expire := func(d time.Duration) im.ConversationPatch { return im.ConversationPatch{ExpireAfter: &d} }
	patch := func(p im.ConversationPatch) func(w *world, m, _ im.Message) error {
		return func(w *world, _, _ im.Message) error {
			_, err := w.UpdateConversation(w.ctx, as("bob"), ref, p)
			return err
		}
	}
	for name, tt := range map[string]struct {
		act  func(w *world, mine, hers im.Message) error
		want string
	}{
		"sends a direct message": {func(w *world, _, _ im.Message) error {
			_, err := w.Send(w.ctx, as("bob"), ref, text("hi"))
			return err
		}, "403 blocked"},
		"sends by the conversation's id": {func(w *world, mine, _ im.Message) error {
			_, err := w.Send(w.ctx, as("bob"), byID(mine.Conversation), text("hi"))
			return err
		}, "403 blocked"},
		"repeats a message from before the block": {func(w *world, mine, _ im.Message) error {
			d := text("mine")
			d.ClientID = "before"
			sent, err := w.Send(w.ctx, as("bob"), ref, d)
			if err == nil {
				w.equal("the message", sent.Message.ID, mine.ID)
			}
			return err
		}, "ok"},
		"creates a group with alice": {func(w *world, _, _ im.Message) error {
			_, err := w.CreateGroup(w.ctx, as("bob"), im.GroupDraft{Name: "g", Members: []im.UserID{"alice"}})
			return err
		}, "403 blocked"},
		"sets a longer retention":           {patch(keep(31 * day)), "403 blocked"},
		"sets retention forever":            {patch(keep(0)), "403 blocked"},
		"returns to the server's retention": {patch(im.ConversationPatch{Retention: &byServer}), "403 blocked"},
		"sets the same retention":           {patch(keep(30 * day)), "ok"},
		"sets a shorter retention":          {patch(keep(29 * day)), "ok"},
		"switches expiry off":               {patch(expire(0)), "403 blocked"},
		"sets a later expiry":               {patch(expire(2 * time.Hour)), "403 blocked"},
		"sets the same expiry":              {patch(expire(time.Hour)), "ok"},
		"sets an earlier expiry":            {patch(expire(time.Minute)), "ok"},
		"pins":                              {patch(im.ConversationPatch{Pinned: new(true)}), "ok"},
		"mutes":                             {patch(im.ConversationPatch{Muted: new(true)}), "ok"},
		"pins and sets a later expiry":      {patch(im.ConversationPatch{Pinned: new(true), ExpireAfter: new(2 * time.Hour)}), "403 blocked"},
		"pins and sets an earlier expiry":   {patch(im.ConversationPatch{Pinned: new(true), ExpireAfter: new(time.Minute)}), "ok"},
		"revokes": {func(w *world, mine, _ im.Message) error {
			_, err := w.Revoke(w.ctx, as("bob"), mine.ID, im.RevokeNote{})
			return err
		}, "ok"},
		"hides": {func(w *world, _, hers im.Message) error {
			return w.Hide(w.ctx, as("bob"), ref, im.HideDraft{MessageIDs: []string{hers.ID.String()}})
		}, "ok"},
		"hides the conversation":  {func(w *world, _, _ im.Message) error { return w.HideConversation(w.ctx, as("bob"), ref, true) }, "ok"},
		"deletes it for everyone": {func(w *world, _, _ im.Message) error { return w.DeleteConversation(w.ctx, as("bob"), ref) }, "ok"},
		"clears unread": {func(w *world, _, _ im.Message) error {
			_, err := w.ClearUnread(w.ctx, as("bob"), ref)
			return err
		}, "ok"},
		"reads": {func(w *world, _, hers im.Message) error {
			w.read("bob", ref, hers.ID)
			return nil
		}, "ok"},
		"sends to a shared group": {func(w *world, _, _ im.Message) error {
			g := w.group(im.HistoryAll, "carol", "alice", "bob")
			_, err := w.Send(w.ctx, as("bob"), byID(g), mentioning("alice"))
			return err
		}, "ok"},
		"removes alice from a shared group": {func(w *world, _, _ im.Message) error {
			g := w.group(im.HistoryAll, "bob", "carol")
			w.add(g, "bob", im.Admin, "carol")
			_, err := w.SetRole(w.ctx, as("bob"), byID(g), "carol", im.Admin)
			w.must(err)
			w.add(g, "carol", im.Member, "alice")
			return w.RemoveMember(w.ctx, as("bob"), byID(g), "alice")
		}, "ok"},
		"receives a direct message": {func(w *world, _, _ im.Message) error {
			_, err := w.Send(w.ctx, as("alice"), direct("bob"), text("hi"))
			return err
		}, "ok"},
		"is added to a group": {func(w *world, _, _ im.Message) error {
			_, err := w.CreateGroup(w.ctx, as("alice"), im.GroupDraft{Name: "g", Members: []im.UserID{"bob"}})
			return err
		}, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := text("mine")
			d.ClientID = "before"
			mine, err := w.Send(w.ctx, as("bob"), ref, d)
			w.must(err)
			hers := w.say("alice", direct("bob"), "hers")
			_, err = w.UpdateConversation(w.ctx, as("alice"), direct("bob"), keep(30*day))
			w.must(err)
			_, err = w.UpdateConversation(w.ctx, as("alice"), direct("bob"), expire(time.Hour))
			w.must(err)
			w.must(w.PutBlock(w.ctx, as("alice"), "bob"))
			w.equal("answer", answer(tt.act(w, mine.Message, hers)), tt.want)
		})
	}
}

// TestEventsOfBlocks checks that each change of a block is published once, to the user whose block
// it is and to nobody else.
func TestEventsOfBlocks(t *testing.T) {
	w := newWorld(t)
	phone := on("alice", "phone")
	var want []im.Event
	expect := func(what string, typ im.EventType) {
		w.Helper()
		if typ != "" {
			want = append(want, im.Event{
				Type: typ, At: w.clock(), To: "alice", User: "bob", Actor: "alice", ActorDevice: "phone",
				Position: im.Position(len(want) + 1),
			})
		}
		w.equal(what, w.committed(), want)
	}
	w.must(w.DeleteBlock(w.ctx, phone, "bob"))
	expect("nobody was blocked", "")
	w.must(w.PutBlock(w.ctx, phone, "bob"))
	expect("bob is blocked", im.BlockCreated)
	w.must(w.PutBlock(w.ctx, on("alice", "tablet"), "bob"))
	expect("bob is blocked again", "")
	w.must(w.DeleteBlock(w.ctx, phone, "bob"))
	expect("bob is unblocked", im.BlockDeleted)
	w.must(w.DeleteBlock(w.ctx, phone, "bob"))
	expect("bob is unblocked again", "")
	for user, events := range map[im.UserID][]im.Event{"alice": want, "bob": {}} {
		got, err := w.Events(w.ctx, as(user), 0, im.Latest, 10)
		w.must(err)
		w.equal("replay for "+string(user), got.Events, events)
	}
}
