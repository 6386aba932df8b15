package im_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
)

// TestPrivateChannels checks that a user who cannot see a channel gets 404 everywhere and
// receives none of its events.
func TestPrivateChannels(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice", "bob")
	private := w.channel("owner", id, true)
	w.must(w.PutListed(w.ctx, as("owner"), byID(private), im.AllowList, "alice"))
	m := w.say("alice", byID(private), "needle")
	th, err := w.CreateThread(w.ctx, as("alice"), m.ID, im.ThreadDraft{Name: "a thread"})
	w.must(err)
	in := w.say("alice", byID(th.ID), "needle in a thread")
	name := "x"
	for what, err := range map[string]error{
		"getting it": func() error { _, err := w.Conversation(w.ctx, as("bob"), byID(private)); return err }(),
		"sending":    func() error { _, err := w.Send(w.ctx, as("bob"), byID(private), text("hi")); return err }(),
		"history": func() error {
			_, err := w.Messages(w.ctx, as("bob"), byID(private), im.HistoryFilter{Limit: 1})
			return err
		}(),
		"members":     func() error { _, err := w.Members(w.ctx, as("bob"), byID(private), im.Page{Limit: 1}); return err }(),
		"threads":     func() error { _, err := w.Threads(w.ctx, as("bob"), byID(private), 0, 1); return err }(),
		"joining":     func() error { _, err := w.Join(w.ctx, as("bob"), byID(private)); return err }(),
		"permissions": func() error { _, _, err := w.PermissionsIn(w.ctx, as("bob"), byID(private)); return err }(),
		"overrides":   func() error { _, err := w.Overrides(w.ctx, as("bob"), byID(private)); return err }(),
		"the list": func() error {
			_, err := w.Listed(w.ctx, as("bob"), byID(private), im.AllowList, im.Page{Limit: 1})
			return err
		}(),
		"renaming": func() error {
			_, err := w.UpdateConversation(w.ctx, as("bob"), byID(private), im.ConversationPatch{Name: &name})
			return err
		}(),
		"clearing":     func() error { _, err := w.ClearUnread(w.ctx, as("bob"), byID(private)); return err }(),
		"a message":    func() error { _, err := w.Message(w.ctx, as("bob"), m.ID); return err }(),
		"a reply":      func() error { _, err := w.Message(w.ctx, as("bob"), in.ID); return err }(),
		"revoking":     func() error { _, err := w.Revoke(w.ctx, as("bob"), m.ID, im.RevokeNote{}); return err }(),
		"a thread":     func() error { _, err := w.Conversation(w.ctx, as("bob"), byID(th.ID)); return err }(),
		"a new thread": func() error { _, err := w.CreateThread(w.ctx, as("bob"), m.ID, im.ThreadDraft{Name: "x"}); return err }(),
		"search inside": func() error {
			ref := byID(private)
			_, err := w.Search(w.ctx, as("bob"), im.SearchFilter{In: &ref, Words: "needle", Limit: 1})
			return err
		}(),
	} {
		if got := answer(err); got != "404 conversation_not_found" && got != "404 message_not_found" {
			t.Errorf("%s: %s", what, got)
		}
	}
	found, err := w.Search(w.ctx, as("bob"), im.SearchFilter{Words: "needle", Limit: 10})
	w.must(err)
	w.equal("bob finds", len(found.Hits), 0)
	found, err = w.Search(w.ctx, as("alice"), im.SearchFilter{Words: "needle", Limit: 10})
	w.must(err)
	w.equal("alice finds", len(found.Hits), 2)
	page, err := w.Channels(w.ctx, as("bob"), id, 0, 10)
	w.must(err)
	w.equal("bob's channels", len(page.Items), 0)
	w.revoke("alice", m.ID)
	w.must(w.DeleteConversation(w.ctx, as("owner"), byID(private)))
	for _, e := range w.replay(as("bob"), 0, 5) {
		if e.Conversation != id {
			t.Errorf("bob receives %v of %v", e.Type, e.Conversation)
		}
	}
	erased, err := w.Erased(w.ctx, as("bob"), im.ErasureQuery{Limit: 10})
	w.must(err)
	w.equal("erasures that bob learns of", len(erased.Items), 0)
	for user, want := range map[im.UserID]int{"bob": 0, "alice": 2} {
		lost, err := w.Lost(w.ctx, as(user), epoch)
		w.must(err)
		w.equal(string(user)+" has lost", len(lost.Gone), want)
	}
}

// TestAccessChangesWithTheNextRequest checks that a change of roles, lists or membership
// applies to the next request.
func TestAccessChangesWithTheNextRequest(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice")
	public, private := w.channel("owner", id, false), w.channel("owner", id, true)
	const hidden = "404 conversation_not_found"
	step := func(what string, err error, inPublic, inPrivate string) {
		t.Helper()
		w.must(err)
		if a, b := w.try("alice", public), w.try("alice", private); a != inPublic || b != inPrivate {
			t.Errorf("%s: %s and %s, want %s and %s", what, a, b, inPublic, inPrivate)
		}
	}
	role := w.role(id, "owner", 0, 0)
	step("at first", nil, "ok", hidden)
	step("denied", w.PutListed(w.ctx, as("owner"), byID(public), im.DenyList, "alice"), hidden, hidden)
	step("not denied", w.DeleteListed(w.ctx, as("owner"), byID(public), im.DenyList, "alice"), "ok", hidden)
	step("allowed", w.PutListed(w.ctx, as("owner"), byID(private), im.AllowList, "alice"), "ok", "ok")
	step("not allowed", w.DeleteListed(w.ctx, as("owner"), byID(private), im.AllowList, "alice"), "ok", hidden)
	w.override(private, "owner", role, im.PermissionView, 0)
	step("a role that may", w.GrantRole(w.ctx, as("owner"), id, role, "alice"), "ok", "ok")
	step("taken", w.RevokeRole(w.ctx, as("owner"), id, role, "alice"), "ok", hidden)
	step("given again", w.GrantRole(w.ctx, as("owner"), id, role, "alice"), "ok", "ok")
	step("the role is deleted", w.DeleteRole(w.ctx, as("owner"), id, role), "ok", hidden)
	deny := im.RoleDraft{Deny: im.PermissionSend}
	_, _, err := w.UpdateRole(w.ctx, as("owner"), id, im.Everyone, deny)
	step("sending is denied", err, "403 permission_denied", hidden)
	w.override(public, "owner", im.Everyone, im.PermissionSend, 0)
	step("but here", nil, "ok", hidden)
	step("removed", w.RemoveSpaceMember(w.ctx, as("owner"), id, "alice"), hidden, hidden)
	w.equal("may", w.may("alice", public), hidden)
}

// TestRevokingInChannels checks who may revoke in channels, and within which window.
func TestRevokingInChannels(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice", "mod")
	channel := w.channel("owner", id, false)
	w.role(id, "owner", im.PermissionRevokeOthers, 0, "mod")
	revoke := func(user im.UserID, m im.Message) string {
		_, err := w.Revoke(w.ctx, as(user), m.ID, im.RevokeNote{Postscript: "sorry"})
		return answer(err)
	}
	say := func(long time.Duration) im.Message {
		m := w.say("alice", byID(channel), "hi")
		w.pass(long)
		return m
	}
	const expired = "403 revoke_window_expired"
	w.equal("one's own in time", revoke("alice", say(time.Minute)), "ok")
	w.equal("one's own too late", revoke("alice", say(3*time.Minute)), expired)
	w.equal("others' by role, at any time", revoke("mod", say(3*time.Minute)), "ok")
	w.equal("others'", revoke("owner", say(3*time.Minute)), "ok")
	bobs := w.say("mod", byID(channel), "hi")
	w.equal("without the role", revoke("alice", bobs), "403 permission_denied")

	hour, second := new(time.Hour), new(time.Second)
	_, err := w.UpdateSpace(w.ctx, as("owner"), id, im.ConversationPatch{RevokeWindow: &hour, RevokeOthersWindow: &second})
	w.must(err)
	w.equal("by the space's window", revoke("alice", say(30*time.Minute)), "ok")
	w.equal("by the space's window for others", revoke("mod", say(time.Minute)), expired)
	w.set("owner", channel, im.ConversationPatch{RevokeWindow: &second, RevokeOthersWindow: &hour})
	w.equal("by the channel's window", revoke("alice", say(time.Minute)), expired)
	w.equal("by the channel's window for others", revoke("mod", say(time.Minute)), "ok")
	w.override(channel, "owner", im.Everyone, 0, im.PermissionRevokeOwn)
	m := say(0)
	_, err = w.Revoke(w.ctx, as("alice"), m.ID, im.RevokeNote{})
	w.equal("without revoke_own", err, "permission_denied: you need the permission revoke_own here")

	_, err = w.DeleteMessage(w.ctx, as("mod"), m.ID)
	w.equal("deleting", err, "permission_denied: you need the permission delete_others here")
	w.pass(2 * time.Hour)
	w.equal("past every window", revoke("mod", m), expired)
	for range 2 {
		tombstone, err := w.DeleteMessage(w.ctx, as("owner"), m.ID)
		w.must(err)
		w.equal("deleted", fmt.Sprint(tombstone.State, " ", tombstone.Content == nil, " ", tombstone.Erased.By), "revoked true owner")
	}
}

// TestUnreadInChannels checks that only messages since joining the space are unread.
func TestUnreadInChannels(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice")
	channel := w.channel("owner", id, false)
	w.say("owner", byID(channel), "one")
	w.pass(time.Second)
	_, err := w.AddSpaceMembers(w.ctx, as("owner"), id, []im.UserID{"bob"})
	w.must(err)
	m := w.send("owner", byID(channel), mentioning("bob"))
	w.equal("alice", w.unread("alice", byID(channel)), "2/0")
	w.equal("bob", w.unread("bob", byID(channel)), "1/1")
	w.equal("bob reads all", w.said("bob", byID(channel)), []string{"one", "hey"})
	w.read("alice", byID(channel), m.ID)
	w.equal("alice has read", w.unread("alice", byID(channel)), "0/0")
	_, err = w.Receipts(w.ctx, as("owner"), m.ID)
	w.equal("receipts", answer(err), "422 receipts_unsupported")
	total, err := w.Unread(w.ctx, as("bob"), nil)
	w.must(err)
	w.equal("not in the totals", total.Total, 0)
}

// TestNewViewersHaveNothingUnread checks that earlier messages are not unread for a user who gains
// sight of a channel by a list, nor for one who rejoins a space.
func TestNewViewersHaveNothingUnread(t *testing.T) {
	w := newWorld(t)
	id := w.space("owner", "alice")
	private, public := w.channel("owner", id, true), w.channel("owner", id, false)
	w.must(w.PutListed(w.ctx, as("owner"), byID(public), im.DenyList, "alice"))
	for _, channel := range []im.ID{private, public} {
		for range 3 {
			w.send("owner", byID(channel), mentioning("alice"))
		}
	}
	for range 2 {
		w.must(w.PutListed(w.ctx, as("owner"), byID(private), im.AllowList, "alice"))
		w.must(w.DeleteListed(w.ctx, as("owner"), byID(public), im.DenyList, "alice"))
		for _, channel := range []im.ID{private, public} {
			w.equal("let in", w.unread("alice", byID(channel)), "0/0")
			w.send("owner", byID(channel), mentioning("alice"))
			w.equal("then", w.unread("alice", byID(channel)), "1/1")
		}
		w.must(w.DeleteListed(w.ctx, as("owner"), byID(private), im.AllowList, "alice"))
		w.must(w.PutListed(w.ctx, as("owner"), byID(public), im.DenyList, "alice"))
	}
	w.must(w.DeleteListed(w.ctx, as("owner"), byID(public), im.DenyList, "alice"))
	w.must(w.RemoveSpaceMember(w.ctx, as("owner"), id, "alice"))
	w.send("owner", byID(public), mentioning("alice"))
	w.pass(time.Second)
	w.must1(w.AddSpaceMembers(w.ctx, as("owner"), id, []im.UserID{"alice"}))
	w.equal("back in the space", w.unread("alice", byID(public)), "0/0")
}

func TestChannelLimits(t *testing.T) {
	policy := im.DefaultPolicy()
	policy.MaxChannels, policy.MaxChannelRoles, policy.MaxRoles = 2, 1, 3
	w := newWorldWith(t, policy)
	id := w.space("owner")
	c := w.channel("owner", id, false)
	w.channel("owner", id, true)
	_, err := w.CreateChannel(w.ctx, as("owner"), id, im.ChannelDraft{Name: "x"})
	w.equal("a channel too many", answer(err), "422 too_many_channels")
	a, b := w.role(id, "owner", 0, 0), w.role(id, "owner", 0, 0)
	name := "x"
	_, _, err = w.CreateRole(w.ctx, as("owner"), id, im.RoleDraft{Name: &name})
	w.equal("a role too many", answer(err), "422 too_many_roles")
	w.override(c, "owner", a, im.PermissionSend, 0)
	w.override(c, "owner", a, 0, im.PermissionSend)
	put := func(role im.ID) string {
		_, err := w.PutOverride(w.ctx, as("owner"), byID(c), im.Override{Role: role, Grants: im.Grants{Deny: im.PermissionSend}})
		return answer(err)
	}
	w.equal("an override too many", put(b), "422 too_many_roles")
	w.must(w.DeleteOverride(w.ctx, as("owner"), byID(c), a))
	w.equal("replaced", put(b), "ok")
	w.must(w.DeleteRole(w.ctx, as("owner"), id, b))
	w.equal("after the role of another was deleted", put(a), "ok")
	list, err := w.Overrides(w.ctx, as("owner"), byID(c))
	w.must(err)
	w.equal("overrides", fmt.Sprint(len(list), list[0].Role == a), "1 true")
}

// TestChannelMembers checks that every member of the space who can see a channel is once on its
// pages of members.
func TestChannelMembers(t *testing.T) {
	w := newWorld(t)
	var users []im.UserID
	for i := range 25 {
		users = append(users, im.UserID(fmt.Sprintf("u%02d", i)))
	}
	id := w.space("owner", users...)
	channel := w.channel("owner", id, false)
	w.must(w.PutListed(w.ctx, as("owner"), byID(channel), im.DenyList, "u03"))
	var got []string
	for after := ""; ; {
		page, err := w.Members(w.ctx, as("u01"), byID(channel), im.Page{After: after, Limit: 4})
		w.must(err)
		for _, m := range page.Items {
			got = append(got, string(m.User))
		}
		if after = string(page.Next); after == "" {
			break
		}
	}
	slices.Sort(got)
	want := []string{"owner"}
	for _, u := range users {
		if u != "u03" {
			want = append(want, string(u))
		}
	}
	w.equal("members", strings.Join(got, " "), strings.Join(want, " "))
}
