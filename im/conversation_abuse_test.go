package im_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// Tests of users who try to see, get or send more than they may.

// receivedSince returns the events after a position that a user receives from the log.
func (w *world) receivedSince(user im.UserID, after im.Position) (out []string) {
	w.Helper()
	b, err := w.LogBounds(w.ctx)
	w.must(err)
	win, err := w.Events(w.ctx, as(user), after, b.Head, 1000)
	w.must(err)
	for _, e := range win.Events {
		out = append(out, string(e.Type)+" by "+string(e.Actor)+" in "+e.Conversation.String())
	}
	return out
}

func TestCreatorsMustSeeTheirChannel(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "mod")
	_, _, err := w.UpdateRole(w.ctx, as("owner"), id, im.Everyone, im.RoleDraft{Deny: im.PermissionView})
	w.must(err)
	w.role(id, "owner", im.PermissionManageConversation, 0, "mod")
	_, err = w.CreateChannel(w.ctx, as("mod"), id, im.ChannelDraft{Name: "c"})
	w.equal("create", answer(err), "403 permission_denied")
	bounds, err := w.LogBounds(w.ctx)
	w.must(err)
	_, err = w.CreateChannel(w.ctx, as("mod"), id, im.ChannelDraft{Name: "c"})
	w.equal("again", answer(err), "403 permission_denied")
	after, err := w.LogBounds(w.ctx)
	w.must(err)
	w.equal("nothing was written", after.Head, bounds.Head)

	ch, err := w.CreateChannel(w.ctx, as("mod"), id, im.ChannelDraft{Name: "c", Private: true})
	w.must(err)
	no := false
	_, err = w.UpdateConversation(w.ctx, as("mod"), byID(ch.ID), im.ConversationPatch{Private: &no})
	w.equal("or makes a channel public", answer(err), "403 permission_denied")
}

// An override counts, too: an actor who cannot see a channel cannot give a role that opens it.
func TestRolesDoNotOpenHiddenChannels(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "mod", "boss", "friend")
	w.role(id, "owner", im.PermissionManageRoles, 0, "mod")
	board := w.role(id, "owner", 0, 0, "boss")
	ch := w.channel("owner", id, true)
	w.override(ch, "owner", board, im.PermissionView|im.PermissionRevokeOthers, 0)
	w.say("owner", byID(ch), "secret")
	w.equal("before", w.may("mod", ch), "404 conversation_not_found")
	err := w.GrantRole(w.ctx, as("mod"), id, board, "mod")
	w.equal("grant", answer(err), "403 permission_denied")
	other := w.role(id, "owner", 0, 0)
	for _, several := range [][]im.ID{{other, board}, {board, other}} {
		_, err = w.SetSpaceRoles(w.ctx, as("mod"), id, "friend", several)
		w.equal("grant among others", answer(err), "403 permission_denied")
	}
	_, err = w.SetSpaceRoles(w.ctx, as("mod"), id, "friend", []im.ID{other})
	w.equal("only the other one", answer(err), "ok")
	w.equal("after", w.may("mod", ch), "404 conversation_not_found")
}

// TestMovingRolesGivesNoPermissions checks that an actor cannot get a permission by changing
// the order of roles.
func TestMovingRolesGivesNoPermissions(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "mod", "bob")
	w.role(id, "owner", im.PermissionManageRoles, 0, "mod")
	w.role(id, "owner", 0, im.PermissionKick, "mod", "bob") // is above kickers, so it decides
	kickers := w.role(id, "owner", im.PermissionKick, 0, "mod", "bob")
	_, may, err := w.SpacePermissions(w.ctx, as("mod"), id)
	w.must(err)
	w.equal("before", may.Has(im.PermissionKick), false)
	_, _, err = w.UpdateRole(w.ctx, as("mod"), id, kickers, im.RoleDraft{Position: 2})
	w.equal("move", answer(err), "403 permission_denied")
	_, may, err = w.SpacePermissions(w.ctx, as("mod"), id)
	w.must(err)
	w.equal("after", may.Has(im.PermissionKick), false)
}

func TestDenyingNeedsThePermission(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "mod", "bob")
	w.role(id, "owner", im.PermissionManageRoles, 0, "mod")
	kickers := w.role(id, "owner", im.PermissionKick, 0, "bob")
	_, _, err := w.UpdateRole(w.ctx, as("mod"), id, kickers, im.RoleDraft{Deny: im.PermissionKick})
	w.equal("take", answer(err), "403 permission_denied")
}

// TestMutedUsersCannotSpeakInOtherWays checks that a muted user can revoke and leave, but cannot
// leave a text that others see.
func TestMutedUsersCannotSpeakInOtherWays(t *testing.T) {
	w := newWorld(t)
	g := w.group(im.HistoryAll, "owner", "bob")
	m := w.say("bob", byID(g), "hi")
	th, err := w.CreateThread(w.ctx, as("bob"), m.ID, im.ThreadDraft{Name: "nice name"})
	w.must(err)
	_, err = w.MuteMember(w.ctx, as("owner"), byID(g), "bob", 0)
	w.must(err)
	_, err = w.Send(w.ctx, as("bob"), byID(g), text("x"))
	w.equal("send", answer(err), "403 permission_denied")
	name := "YOU ARE ALL IDIOTS"
	_, err = w.UpdateConversation(w.ctx, as("bob"), byID(th.ID), im.ConversationPatch{Name: &name})
	w.equal("rename", answer(err), "403 permission_denied")
	tomb, err := w.Revoke(w.ctx, as("bob"), m.ID, im.RevokeNote{Postscript: "you are all idiots"})
	w.must(err)
	w.equal("postscript", tomb.Erased.Postscript, "")
}

// TestNoNoteByRevokersWhoCannotSend checks the same for a user who may revoke messages of
// others and may not send.
func TestNoNoteByRevokersWhoCannotSend(t *testing.T) {
	w := newWorld(t)
	g := w.group(im.HistoryAll, "owner", "admin", "bob")
	w.must1(w.SetRole(w.ctx, as("owner"), byID(g), "admin", im.Admin))
	space := w.space("owner", "admin", "bob")
	channel := w.channel("owner", space, false)
	w.role(space, "owner", im.PermissionRevokeOthers, 0, "admin")

	note := im.RevokeNote{Postscript: "idiots", Extension: []byte(`"idiots"`), Push: im.Push{Content: "idiots"}}
	revoke := func(what string, of, by im.UserID, id im.ID, want bool) {
		w.Helper()
		m := w.say(of, byID(id), "hi")
		n := len(w.committed())
		m, err := w.Revoke(w.ctx, as(by), m.ID, note)
		w.must(err)
		pushed := false
		for _, e := range w.committed()[n:] {
			pushed = pushed || e.Push.Content != ""
		}
		w.equal(what, []bool{m.Erased.Postscript != "", m.Erased.Extension != nil, pushed}, []bool{want, want, want})
	}
	revoke("an admin", "bob", "admin", g, true)
	revoke("with a role", "bob", "admin", channel, true)
	_, err := w.MuteMember(w.ctx, as("owner"), byID(g), "admin", 0)
	w.must(err)
	revoke("a muted admin", "bob", "admin", g, false)
	// Members can still create threads.
	w.override(channel, "owner", im.Everyone, 0, im.PermissionSend)
	revoke("with a role, in a read-only channel", "owner", "admin", channel, false)
	revoke("the owner", "owner", "owner", channel, true)
}

// TestSearchDoesNotRevealHiddenChannels checks that even the number of pages reveals nothing.
func TestSearchDoesNotRevealHiddenChannels(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "bob")
	ch := w.channel("owner", id, true)
	for range 8 {
		w.say("owner", byID(ch), "acquisition")
	}
	for _, word := range []string{"acquisition", "nonsense"} {
		p, err := w.Search(w.ctx, as("bob"), im.SearchFilter{Words: word, Limit: 1})
		w.must(err)
		w.equal(word, fmt.Sprint(len(p.Hits), " ", p.Next != 0), "0 false")
	}
}

func TestHiddenChannelsAreNotCounted(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "bob")
	for range 3 {
		w.channel("owner", id, true)
	}
	pages := 0
	var after im.ID
	for {
		p, err := w.Channels(w.ctx, as("bob"), id, after, 1)
		w.must(err)
		pages++
		if p.Next == nil {
			break
		}
		after = p.Next.ID
	}
	w.equal("pages", pages, 1)
}

func TestSlowModeHoldsInThreads(t *testing.T) {
	w := newWorld(t)
	g := w.group(im.HistoryAll, "owner", "bob")
	m := w.say("bob", byID(g), "hi")
	th, err := w.CreateThread(w.ctx, as("bob"), m.ID, im.ThreadDraft{Name: "n"})
	w.must(err)
	slow := time.Hour
	_, err = w.UpdateConversation(w.ctx, as("owner"), byID(g), im.ConversationPatch{SlowMode: &slow})
	w.must(err)
	_, err = w.Send(w.ctx, as("bob"), byID(g), text("x"))
	w.equal("group", answer(err), "429 slow_mode")
	for range 3 {
		_, err = w.Send(w.ctx, as("bob"), byID(th.ID), text("x"))
	}
	w.equal("thread", answer(err), "429 slow_mode")
}

// TestActivityBehindManyTombstones checks that the newest remaining message is found before any
// number of tombstones.
func TestActivityBehindManyTombstones(t *testing.T) {
	w := newWorld(t)
	g := w.group(im.HistoryAll, "owner", "bob")
	m := w.say("bob", byID(g), "hi")
	th, err := w.CreateThread(w.ctx, as("bob"), m.ID, im.ThreadDraft{Name: "n"})
	w.must(err)
	w.pass(time.Hour)
	first := w.say("bob", byID(th.ID), "kept")
	w.pass(time.Hour)
	const n = 2100
	for i := range n {
		d := text("m %d", i)
		d.ExpireAfter = 10 * time.Second
		_, err := w.Send(w.ctx, as("bob"), byID(th.ID), d)
		w.must(err)
	}
	w.pass(time.Minute)
	_, _, err = w.EraseDue(w.ctx)
	w.must(err)
	v, err := w.Conversation(w.ctx, as("bob"), byID(th.ID))
	w.must(err)
	w.equal("messages", v.Messages, 1)
	w.equal("active", v.ActiveAt, first.CreatedAt)
}

// TestNoReceiptsAfterLosingAccess checks that a sender receives no receipts of their messages
// after they have lost access.
func TestNoReceiptsAfterLosingAccess(t *testing.T) {
	w := newWorld(t)
	g := w.group(im.HistoryAll, "owner", "bob")
	d := text("hi")
	d.Receipt = true
	s, err := w.Send(w.ctx, as("bob"), byID(g), d)
	w.must(err)
	w.must(w.RemoveMember(w.ctx, as("owner"), byID(g), "bob"))
	b, _ := w.LogBounds(w.ctx)
	_, err = w.PutReceipt(w.ctx, as("owner"), byID(g), im.ReceiptDraft{Kind: im.Read, MessageIDs: []string{s.Message.ID.String()}})
	w.must(err)
	w.equal("group: received after removal", w.receivedSince("bob", b.Head), []string{})

	id := w.space("owner", "bob")
	ch := w.channel("owner", id, false)
	m := w.say("owner", byID(ch), "root")
	th, err := w.CreateThread(w.ctx, as("owner"), m.ID, im.ThreadDraft{Name: "t"})
	w.must(err)
	_, err = w.Join(w.ctx, as("bob"), byID(th.ID))
	w.must(err)
	s, err = w.Send(w.ctx, as("bob"), byID(th.ID), d)
	w.must(err)
	w.must(w.PutListed(w.ctx, as("owner"), byID(ch), im.DenyList, "bob"))
	b, _ = w.LogBounds(w.ctx)
	_, err = w.PutReceipt(w.ctx, as("owner"), byID(th.ID), im.ReceiptDraft{Kind: im.Read, MessageIDs: []string{s.Message.ID.String()}})
	w.must(err)
	w.equal("channel: received after denial", w.receivedSince("bob", b.Head), []string{})
}

func TestMutingDoesNotRevealPrivateChannels(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "bob")
	ch := w.channel("owner", id, true)
	b, _ := w.LogBounds(w.ctx)
	_, err := w.MuteMember(w.ctx, as("owner"), byID(ch), "bob", 0)
	w.equal("mute", answer(err), "404 member_not_found")
	w.equal("received", w.receivedSince("bob", b.Head), []string{})
}

func TestPurgingASpaceLeavesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner")
	ch := w.channel("owner", id, false)
	m := w.say("owner", byID(ch), "secret")
	th, err := w.CreateThread(w.ctx, as("owner"), m.ID, im.ThreadDraft{Name: "t"})
	w.must(err)
	in := w.say("owner", byID(th.ID), "secret")
	w.must(w.DeleteSpace(w.ctx, as("owner"), id))
	w.must(w.Purge(w.ctx))
	w.must(w.store.View(w.ctx, func(r im.Reader) error {
		for _, id := range []im.ID{m.ID, in.ID} {
			if _, err := r.Message(id); err == nil {
				t.Error("left", id)
			}
		}
		l, err := r.Unpurged(10)
		w.equal("left", len(l), 0)
		return err
	}))
}

// TestThreadsShowHistoryAsTheirGroup checks that a member does not see older messages in a thread
// than in its group.
func TestThreadsShowHistoryAsTheirGroup(t *testing.T) {
	for _, history := range []im.History{im.HistoryJoined, im.HistoryAll} {
		w := newWorld(t)
		g := w.group(history, "owner", "bob")
		m := w.say("bob", byID(g), "root")
		th, err := w.CreateThread(w.ctx, as("bob"), m.ID, im.ThreadDraft{Name: "a thread"})
		w.must(err)
		old := w.say("bob", byID(th.ID), "needle of old")
		w.pass(time.Second)
		w.add(g, "owner", im.Member, "erin")
		w.pass(time.Second)
		w.say("bob", byID(th.ID), "needle of new")
		want, reads := []string{"needle of new"}, "404 message_not_found"
		if history == im.HistoryAll {
			want, reads = []string{"needle of old", "needle of new"}, "ok"
		}
		w.equal("history", w.said("erin", byID(th.ID)), want)
		_, err = w.Message(w.ctx, as("erin"), old.ID)
		w.equal("a message", answer(err), reads)
		found, err := w.Search(w.ctx, as("erin"), im.SearchFilter{Words: "needle", Limit: 10})
		w.must(err)
		w.equal("found", len(found.Hits), len(want))
		w.join("erin", th.ID)
		w.equal("after joining it", w.said("erin", byID(th.ID)), want)

		// Events about the old message follow the same rule, live and on replay.
		b, err := w.LogBounds(w.ctx)
		w.must(err)
		w.revoke("bob", old.ID)
		received := 0
		for _, e := range w.replay(as("erin"), b.Head, 3) {
			if e.Conversation == th.ID {
				received++
			}
		}
		a, err := w.MembersAt(w.ctx, th.ID, b.Head+1, []im.UserID{"erin"})
		w.must(err)
		live := 0
		if c := a.Conversation; c.History == im.HistoryAll || a.Members[0].Intervals.Messages(c.LastSeq).Has(old.Seq) {
			live++
		}
		w.equal("received live and on replay", fmt.Sprint(live, " ", received), map[bool]string{true: "1 1", false: "0 0"}[history == im.HistoryAll])
	}
}

// TestManyStaysAreBounded checks that joining and leaving many times slows nothing down: only the
// newest stays count, and one look-up finds whether a user is a member.
func TestManyStaysAreBounded(t *testing.T) {
	w := newWorld(t)
	id := w.room("owner")
	for range 150 {
		w.join("bob", id)
		w.must(w.Leave(w.ctx, as("bob"), byID(id)))
	}
	w.join("bob", id)
	b, err := w.LogBounds(w.ctx)
	w.must(err)
	a, err := w.MembersAt(w.ctx, id, b.Head, []im.UserID{"bob", "owner"})
	w.must(err)
	w.equal("members", len(a.Members), 2)
	w.equal("stays of bob", len(a.Members[0].Intervals), 100)
	a, err = w.MembersAt(w.ctx, id, b.Head-1, []im.UserID{"bob", "owner"})
	w.must(err)
	w.equal("after he left", len(a.Members), 2) // he receives the event of leaving
	a, err = w.MembersAt(w.ctx, id, 1, []im.UserID{"bob", "owner"})
	w.must(err)
	w.equal("before", len(a.Members), 1)
}

// TestHandingOverReachesAllMembers checks that all members of a space receive the event of a
// new owner.
func TestHandingOverReachesAllMembers(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice", "bob")
	b, err := w.LogBounds(w.ctx)
	w.must(err)
	_, err = w.HandOverSpace(w.ctx, as("owner"), id, "alice")
	w.must(err)
	w.equal("bob", w.receivedSince("bob", b.Head), []string{"space.updated by owner in " + id.String()})
}
